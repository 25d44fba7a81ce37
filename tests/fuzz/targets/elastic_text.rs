//! Any text in Lucene's syntax (`q=`, `query_string`) is a filter that prints as one that is equal, or an error; so are dates and
//! their formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_elastic::{Zone, date, fields::Mapping, query::{self, QueryString}};
use millrace_filter::Filter;
use millrace_fuzz::NOW;
use millrace_model::declared::Declarations;

fuzz_target!(|text: &str| {
    let mapping = Mapping::of_records(&Declarations::default());
    for lenient in [false, true] {
        let options = QueryString { lenient, ..QueryString::default() };
        if let Ok(expr) = query::query_string(text, &options, &mapping, NOW) {
            millrace_fuzz::hold(&Filter::new(expr));
        }
    }
    if let Ok(format) = date::Format::new(text) {
        drop((format.read(text, Zone::UTC, true), format.write(NOW.0, Zone::UTC)));
    }
    drop((date::math(text, &date::Format::standard(), Zone::UTC, NOW.0, true), date::length(text), Zone::parse(text)));
});
