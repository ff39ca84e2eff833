use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::strategies::{Announcement, announcement, family, notification, open, prefix, refresh, session};
use super::*;
use crate::types::Asn;

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn announcements_arrive_as_they_were_meant(sent in announcement()) {
        let octets = announce_all(&sent.block(), sent.prefixes.iter().copied());
        let mut prefixes = Vec::new();
        let messages = decode_all(&octets, &sent.session).unwrap();
        let count = messages.len();
        for message in messages {
            let Message::Update(update) = message else { panic!("{message:?}") };
            prop_assert_eq!(judged(&update), Judgement::ACCEPT);
            prefixes.extend(check_attributes(&sent, &update));
        }
        prop_assert_eq!(&prefixes, &sent.prefixes);
        prop_assert!(octets.len() <= count * sent.session.max_send);
        // No UPDATE could have taken the first prefix of the next one as well: 17 octets at most, and one more where
        // that makes MP_REACH_NLRI longer than 255.
        let mut rest = octets.as_slice();
        while let Some(frame) = frame(rest, &sent.session).unwrap() {
            rest = &rest[frame.total_len..];
            prop_assert!(rest.is_empty() || frame.total_len + 18 > sent.session.max_send);
        }
    }

    #[test]
    fn withdrawals_arrive_as_they_were_meant(
        session in session(),
        (family, prefixes) in family().prop_flat_map(|f| (Just(f), proptest::collection::vec(prefix(f), 1..1500))),
    ) {
        let (mut octets, mut left) = (Vec::new(), prefixes.iter().copied().peekable());
        while withdraw(&session, family, &mut left, &mut octets) != 0 {}
        let mut arrived: Vec<IpNet> = Vec::new();
        for message in decode_all(&octets, &session).unwrap() {
            let Message::Update(update) = message else { panic!("{message:?}") };
            prop_assert_eq!(judged(&update), Judgement::ACCEPT);
            prop_assert!(update.nlri.is_empty() && update.mp_reach.is_none());
            arrived.extend(update.withdrawn.iter().copied().map(IpNet::V4));
            arrived.extend(update.mp_unreach.iter().flat_map(|unreach| unreach.prefixes.iter()));
        }
        prop_assert_eq!(arrived, prefixes);
    }

    #[test]
    fn other_messages_arrive_as_they_were_meant(open in open(), notification in notification(), refresh in refresh()) {
        let mut octets = Vec::new();
        open.encode(&mut octets).unwrap();
        notification.encode(&mut octets);
        refresh.encode(&mut octets);
        keepalive(&mut octets);
        let expected = vec![
            Message::Open(open),
            Message::Notification(notification),
            Message::RouteRefresh(refresh),
            Message::Keepalive,
        ];
        prop_assert_eq!(decode_all(&octets, &FULL), Ok(expected));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere(sent in announcement(), cut in any::<prop::sample::Index>()) {
        let octets = announce_all(&sent.block(), sent.prefixes.iter().copied());
        let first = frame(&octets, &sent.session).unwrap().unwrap();
        let part = cut.index(first.total_len);
        prop_assert_eq!(frame(&octets[..part], &sent.session), Ok(None));
        let exactly = frame(&octets[..first.total_len], &sent.session).unwrap();
        prop_assert_eq!(exactly, Some(first));
    }
}

/// Compares an UPDATE's attributes with those sent; gives its prefixes.
fn check_attributes(sent: &Announcement, update: &Update) -> Vec<IpNet> {
    let attributes = &update.attributes;
    assert_eq!(attributes.origin, Some(Origin::Igp));
    assert_eq!((attributes.med, attributes.local_pref), (sent.med, sent.local_pref));
    assert_eq!(attributes.communities, sent.communities);
    assert_eq!(attributes.large_communities, sent.large_communities);
    let numbers =
        |path: &AsPath| -> Vec<u32> { path.segments.iter().flat_map(|s| s.numbers.clone()).collect() };
    let real: Vec<u32> = sent.as_path.iter().map(|asn| asn.get()).collect();
    let path = attributes.as_path.as_ref().map(numbers).unwrap();
    if sent.session.four_octet_as {
        assert_eq!((path, &attributes.as4_path), (real, &None));
    } else {
        let two: Vec<u32> = sent.as_path.iter().map(|asn: &Asn| asn.two_octets().into()).collect();
        assert_eq!(attributes.as4_path.as_ref().map_or(path.clone(), numbers), real);
        assert_eq!(path, two);
    }
    let classic: Option<Ipv4Addr> = match sent.next_hop {
        NextHop::V4(address) => Some(address),
        NextHop::V6 { .. } => None,
    };
    assert_eq!(attributes.next_hop, classic);
    let Some(reach) = &update.mp_reach else {
        return update.nlri.iter().copied().map(IpNet::V4).collect();
    };
    assert!(update.nlri.is_empty());
    assert_eq!(reach.family, AfiSafi::unicast(sent.family));
    let NextHop::V6 { global, link_local } = sent.next_hop else { panic!("{:?}", sent.next_hop) };
    let expected = match link_local {
        None => MpNextHop::V6(global),
        Some(link_local) => MpNextHop::V6LinkLocal { global, link_local },
    };
    assert_eq!(reach.next_hop, Some(expected));
    reach.prefixes.clone()
}
