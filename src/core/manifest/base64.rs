//! Base64 as Kubernetes writes it in a Secret's `data` (RFC 4648 section 4): standard alphabet, padded, line breaks ignored.

/// The octets; `None` where `text` isn't base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let padding = symbols.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut octets = Vec::with_capacity(symbols.len());
    let (mut bits, mut held) = (0_u32, 0_u32);
    for symbol in symbols.iter().take(symbols.len().saturating_sub(padding)) {
        bits = (bits << 6) | u32::from(sextet(*symbol)?);
        held = held.saturating_add(6);
        if held >= 8 {
            held = held.saturating_sub(8);
            octets.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
        bits &= 0x3fff;
    }
    Some(octets)
}

fn sextet(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => symbol.checked_sub(b'A'),
        b'a'..=b'z' => symbol.checked_sub(b'a')?.checked_add(26),
        b'0'..=b'9' => symbol.checked_sub(b'0')?.checked_add(52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
