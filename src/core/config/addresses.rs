//! Addresses and ranges as configuration writes them: Go's syntax, with IPv4-mapped IPv6 addresses read as IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::types::{AddressRange, Family};

/// Reads an address: no zone, no leading zeros, nothing around it.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

/// What to write for an address, said in errors.
pub(super) const ADDRESS_REMEDY: &str =
    "write an IPv4 or IPv6 address without a prefix length, zone, leading zeros or spaces";

/// Reads an entry of a pool: a prefix, whose host bits may be set, or `first-last` with spaces around the addresses.
///
/// # Errors
/// What is wrong with it and what to write.
pub(super) fn parse_entry(text: &str) -> Result<AddressRange, String> {
    match text.split_once('-') {
        Some((first, last)) => parse_range(text, first.trim(), last.trim()),
        None => parse_prefix(text),
    }
}

fn parse_range(text: &str, first: &str, last: &str) -> Result<AddressRange, String> {
    let end = |end: &str| {
        parse_address(end)
            .ok_or_else(|| format!("{text:?} is no range, since {end:?} is no address: {ADDRESS_REMEDY}"))
    };
    let (first, last) = (end(first)?, end(last)?);
    if Family::of(first) != Family::of(last) {
        return Err(format!(
            "the ends of {text:?} are of different families: write one range for each family"
        ));
    }
    AddressRange::new(first, last).ok_or_else(|| format!("{text:?} ends before it starts: swap its ends"))
}

fn parse_prefix(text: &str) -> Result<AddressRange, String> {
    let no_prefix = || {
        format!(
            "{text:?} is no prefix and no range: write it as 192.0.2.0/24, 2001:db8::/64 or 192.0.2.10-192.0.2.20"
        )
    };
    let Some((address, length)) = text.split_once('/') else {
        return match parse_address(text) {
            Some(IpAddr::V4(_)) => {
                Err(format!("{text:?} has no prefix length: for one address write {text}/32"))
            }
            Some(IpAddr::V6(_)) => {
                Err(format!("{text:?} has no prefix length: for one address write {text}/128"))
            }
            None => Err(no_prefix()),
        };
    };
    // The length is judged before a mapped address becomes IPv4: ::ffff:192.0.2.0/120 is 192.0.2.0/24.
    let address: IpAddr = address.parse().map_err(|_| no_prefix())?;
    let max = Family::of(address).max_prefix_len();
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|l| digits && *l <= max);
    let prefix = length.and_then(|l| IpNet::new(address, l).ok());
    let prefix = prefix.ok_or_else(|| format!("{text:?} needs a prefix length of 0 to {max}: correct it"))?;
    let (first, last) = (prefix.network(), prefix.broadcast());
    let (mapped_first, mapped_last) = (first.to_canonical(), last.to_canonical());
    let range = if mapped_first.is_ipv4() && mapped_last.is_ipv4() {
        AddressRange::new(mapped_first, mapped_last)
    } else {
        AddressRange::new(first, last)
    };
    range.ok_or_else(no_prefix)
}

/// The length of the widest prefix that lies inside a range: 24 for 192.0.2.0-192.0.3.9.
pub(super) fn widest_prefix(range: &AddressRange) -> u8 {
    let (first, last) = (number(range.first()), number(range.last()));
    let bits = range.family().max_prefix_len();
    (0..bits).find(|length| holds_prefix(first, last, bits.saturating_sub(*length))).unwrap_or(bits)
}

/// Whether `first` to `last` holds a whole block of 2^`host_bits` addresses that starts at a multiple of its size.
fn holds_prefix(first: u128, last: u128, host_bits: u8) -> bool {
    let Some(size) = 1u128.checked_shl(host_bits.into()) else {
        return first == 0 && last == u128::MAX;
    };
    let host_mask = size.wrapping_sub(1);
    let Some(start) = first.checked_add(host_mask).map(|n| n & !host_mask) else { return false };
    start.checked_add(host_mask).is_some_and(|end| end <= last)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(Ipv4Addr::to_bits(v4)),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}
