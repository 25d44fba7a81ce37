//! Values of several words, and what only looks like one.

use crate::scan::tests::mask;

#[test]
fn dates_and_times_are_one_value() {
    let one = [
        "2026-01-15",
        "2026/1/15",
        "2026-01-15T00:00:00",
        "2026-01-15T00:00",
        "2026-01-15 00:00:00,123",
        "2026-01-15T00:00:00.060Z",
        "2026-01-15T00:00:00.060+00:00",
        "2026-01-15 00:00:00+00",
        "2026-01-15 00:00:00.5 -0300",
        "2026-01-15 00:00:00 UTC",
        "2016/9/27:20:40:53.744",
        "10/Oct/2000:13:55:36 -0700",
        "10:20:30",
        "1:02:03.5",
        "17:41:44,747",
        "Dec 10 06:55:46",
        "Dec  1 06:55:46",
        "Sun Dec 04 04:47:44 2005",
        "Sun Jul 17 15:09:16 CEST 2005",
        "Sun, 04 Dec 2005 04:47:44 GMT",
    ];
    for value in one {
        assert_eq!(mask(value), "*", "{value}");
        assert_eq!(mask(&format!("[{value}] at {value}, x")), "[*] at *, x", "{value}");
        assert_eq!(mask(&format!("{{\"msg\":\"at {value}\\n\"}}")), "{\"msg\":\"at *\\n\"}", "{value}");
    }
}

#[test]
fn a_date_is_no_longer_than_it_reads() {
    assert_eq!(mask("2026-01-15T00:00:00Zoo 2026-01-15é"), "*-*-*:*:* *-*-*");
    assert_eq!(mask("2026-01-15 10 2026-01-15 -5"), "* * * *");
    assert_eq!(mask("Sun shines, May 10 people at Dec 3 pm"), "Sun shines, May * people at Dec * pm");
    assert_eq!(mask("Dec 10 06:55:46 WARN 2005 x"), "* WARN * x");
    assert_eq!(mask("1:2:3 10:20 10:20:30:40"), "*:*:* *:* *:*");
}

#[test]
fn identifiers_are_one_value_whatever_their_digits() {
    for value in [
        "0b7a0b1c-beef-4a4a-8a8a-0123456789ab",
        "abcdefab-beef-caca-baba-abcdefabcdef",
        "00:1a:bb:cc:dd:ee",
        "aa:bb:cc:dd:ee:ff",
        "00:11:22:33:44:55",
        "fe80::1ff:fe23:4567:890a",
        "2001:db8:85a3:0:0:8a2e:370:7334",
    ] {
        assert_eq!(mask(&format!("id {value}, x")), "id *, x", "{value}");
    }
    assert_eq!(mask("abcdefab-beef-cacao"), "*-beef-cacao");
    assert_eq!(mask("ab:cd ab::cd std::fmt"), "ab:cd ab::cd std::fmt");
}
