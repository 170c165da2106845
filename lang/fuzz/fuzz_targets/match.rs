//! No text makes the match parser panic, and what it accepts it writes so that it reads the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(expr) = weft_lang::parse_match(text) {
        let written = expr.to_string();
        assert_eq!(weft_lang::parse_match(&written).as_ref(), Ok(&expr), "{written}");
        let _ = weft_lang::to_openflow(&expr, &weft_lang::NoEnv);
    }
});
