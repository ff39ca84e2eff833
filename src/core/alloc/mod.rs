//! stand-in
#![expect(missing_docs, reason = "stand-in")]
use crate::config::Config;
use crate::types::*;
use crate::world::World;
use std::net::IpAddr;
use std::sync::Arc;
#[derive(Clone, Debug)]
pub struct Allocation {
    pub ips: Vec<IpAddr>,
    pub pool: Option<Arc<str>>,
    pub error: Option<String>,
    pub announce: bool,
}
impl Allocation {
    pub fn electing_order(&self) -> Vec<IpAddr> {
        self.ips.clone()
    }
}
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    Allocate,
    HeldOnly,
}
#[derive(Debug, Clone)]
pub struct Allocator {
    m: std::collections::HashMap<ServiceKey, Allocation>,
}
impl Allocator {
    pub fn new(_: Mode, _: Option<String>) -> Self {
        Allocator { m: Default::default() }
    }
    pub fn get(&self, k: &ServiceKey) -> Option<&Allocation> {
        self.m.get(k)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Allocation)> {
        self.m.iter()
    }
    pub fn users_of(&self, _ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.m.keys()
    }
    pub fn reconfigure(&mut self, _: Arc<Config>, _: &World) -> Vec<ServiceKey> {
        vec![]
    }
    pub fn update(&mut self, _: &World, _: &[ServiceKey]) -> Vec<ServiceKey> {
        vec![]
    }
    pub fn visited(&self) -> u64 {
        0
    }
}
