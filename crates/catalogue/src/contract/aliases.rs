//! Aliases of templates: in order, once, bounded.

use super::{Bed, cut, own, step};
use crate::{Alias, Cut, Error, MAX_ALIASES, MAX_MASK_BYTES, Move, PublishError};

fn alias(id: u64) -> Alias {
    // Masks are bytes: their variables are NUL, and what is around them need not be text.
    Alias { id: format!("{id:016x}"), mask: [b"user \0 ", id.to_be_bytes().as_slice(), b"\xff"].concat() }
}

pub(crate) async fn aliases_come_in_order_and_once(bed: &Bed) {
    assert_eq!(bed.second.aliases_since(0).await.unwrap(), (0, vec![]));
    let mut owned = own(&bed.first, 0, "a").await;
    let publish = async |at: Move, ids: &[u64]| {
        let aliases = ids.iter().copied().map(alias).collect();
        bed.first.publish(&Cut { aliases, ..cut(at) }).await.unwrap();
    };
    publish(step(&owned, 10), &[7, 3]).await;
    assert_eq!(bed.second.aliases_since(0).await.unwrap(), (2, vec![alias(7), alias(3)]));
    owned.next_offset = Some(10);
    publish(step(&owned, 20), &[3, u64::MAX, 7, 7]).await;
    assert_eq!(bed.second.aliases_since(2).await.unwrap(), (3, vec![alias(u64::MAX)]));
    assert_eq!(bed.second.aliases_since(3).await.unwrap(), (3, vec![]));
    assert_eq!(bed.second.aliases_since(1_000).await.unwrap(), (1_000, vec![]));
    assert_eq!(bed.second.aliases_since(u64::MAX).await.unwrap(), (u64::MAX, vec![]));
    assert_eq!(bed.first.refused_aliases(), 0);
    // Whoever learns the same without publishing anything else.
    bed.second.publish(&Cut { aliases: vec![alias(9)], ..Cut::default() }).await.unwrap();
    assert_eq!(bed.first.aliases_since(3).await.unwrap(), (4, vec![alias(9)]));
}

pub(crate) async fn what_does_not_happen_adds_no_alias(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    own(&bed.second, 0, "b").await;
    let long = Alias { mask: vec![0; MAX_MASK_BYTES + 1], ..alias(2) };
    let fenced = Cut { aliases: vec![alias(1), long], ..cut(step(&owned, 10)) };
    let refused = bed.first.publish(&fenced).await.unwrap_err();
    assert!(matches!(refused, PublishError::Fenced { .. }), "{refused:?}");
    assert_eq!(bed.second.aliases_since(0).await.unwrap(), (0, vec![]));
    assert_eq!(bed.first.refused_aliases(), 0, "what was rolled back is not counted");
    for id in ["", "1", "00000000000000001", "000000000000000G", "000000000000000A", "+000000000000001"] {
        let aliases = vec![Alias { id: id.to_owned(), ..alias(1) }];
        let refused = bed.second.publish(&Cut { aliases, ..Cut::default() }).await.unwrap_err();
        assert!(matches!(refused, PublishError::Failed(Error::Cut(_))), "{id}: {refused:?}");
    }
}

pub(crate) async fn aliases_are_bounded_and_the_refused_are_counted(bed: &Bed) {
    let longest = Alias { mask: vec![0xfe; MAX_MASK_BYTES], ..alias(1) };
    let mut aliases = vec![longest.clone()];
    aliases.push(Alias { mask: vec![0xfe; MAX_MASK_BYTES + 1], ..alias(2) });
    aliases.push(Alias { mask: b"another".to_vec(), ..alias(1) });
    bed.first.publish(&Cut { aliases, ..Cut::default() }).await.unwrap();
    assert_eq!(bed.first.refused_aliases(), 2, "one too long, one under an id that another mask has");
    assert_eq!(bed.second.aliases_since(0).await.unwrap(), (1, vec![longest.clone()]));

    let many: Vec<Alias> = (10..10 + MAX_ALIASES).map(alias).collect();
    let all = Cut { aliases: many.clone(), ..Cut::default() };
    bed.first.publish(&all).await.unwrap();
    assert_eq!(bed.first.refused_aliases(), 3, "one too many");
    let again =
        Cut { aliases: [longest.clone()].into_iter().chain(many.clone()).collect(), ..Cut::default() };
    bed.second.publish(&again).await.unwrap();
    assert_eq!(bed.second.refused_aliases(), 1, "those that are there are not refused for want of room");

    let (mut version, mut read) = (0, Vec::new());
    loop {
        let (next, some) = bed.second.aliases_since(version).await.unwrap();
        assert!(some.len() <= 1_000);
        if some.is_empty() {
            break;
        }
        (version, read) = (next, [read, some].concat());
    }
    assert_eq!(version, MAX_ALIASES);
    assert_eq!(read[0], longest);
    assert_eq!(read[1..], many[..many.len() - 1]);
}
