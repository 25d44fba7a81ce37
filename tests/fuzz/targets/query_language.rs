//! Any text is a query or an error whose span lies in it. Its filter prints as one that is equal, and its pipes can
//! be carried out.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match millrace_pipes::parse(text) {
        Ok(query) => {
            millrace_fuzz::hold(&query.filter);
            millrace_fuzz::carry_out(&query.pipes);
        }
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some(), "{:?} of {text:?}", error.span);
            std::hint::black_box(error.render(text));
        }
    }
});
