//! Our own decoder, in the oracles' words.

use std::net::IpAddr;

use ferrolb_core::bgp::wire::{
    AsPath, Judgement, Message, MpNextHop, Open, Session, Update, WireError, frame,
};
use ipnet::IpNet;

use super::{Meaning, SESSION};

pub fn message(octets: &[u8], session: &Session) -> Result<Message, WireError> {
    let frame = frame(octets, session)?.expect("a whole message");
    assert_eq!(frame.total_len, octets.len());
    Message::decode(&frame, session)
}

pub fn open(octets: &[u8]) -> Open {
    match message(octets, &SESSION) {
        Ok(Message::Open(open)) => open,
        other => panic!("{other:?}"),
    }
}

pub fn update(octets: &[u8], session: &Session) -> Meaning {
    let update: Update = match message(octets, session) {
        Ok(Message::Update(update)) => *update,
        other => panic!("{other:?}"),
    };
    // LOCAL_PREF goes to internal peers only.
    assert_eq!(update.judge(update.attributes.local_pref.is_some()), Judgement::ACCEPT);
    let attributes = update.attributes;
    let mut meaning = Meaning {
        origin: attributes.origin.map(|origin| origin as u8),
        as_path: attributes.as_path.map(segments),
        as4_path: attributes.as4_path.map(segments),
        next_hop: attributes.next_hop.map(IpAddr::V4),
        med: attributes.med,
        local_pref: attributes.local_pref,
        communities: attributes.communities.iter().map(|community| community.0).collect(),
        large_communities: attributes
            .large_communities
            .iter()
            .map(|l| [l.global, l.local1, l.local2])
            .collect(),
        announced: update.nlri.into_iter().map(IpNet::V4).collect(),
        withdrawn: update.withdrawn.into_iter().map(IpNet::V4).collect(),
        ..Meaning::default()
    };
    if let Some(reach) = update.mp_reach {
        match reach.next_hop {
            Some(MpNextHop::V4(address)) => meaning.next_hop = Some(IpAddr::V4(address)),
            Some(MpNextHop::V6(address)) => meaning.next_hop = Some(IpAddr::V6(address)),
            Some(MpNextHop::V6LinkLocal { global, link_local }) => {
                meaning.next_hop = Some(IpAddr::V6(global));
                meaning.link_local = Some(link_local);
            }
            None => panic!("a family that wasn't negotiated"),
        }
        meaning.announced.extend(reach.prefixes);
    }
    if let Some(unreach) = update.mp_unreach {
        if unreach.prefixes.is_empty() {
            meaning.end_of_rib = unreach.family.family();
        }
        meaning.withdrawn.extend(unreach.prefixes);
    }
    meaning
}

fn segments(path: AsPath) -> Vec<(u8, Vec<u32>)> {
    path.segments.into_iter().map(|segment| (segment.kind as u8, segment.numbers)).collect()
}
