//! No text makes the action parser panic, and what it accepts it writes so that it reads the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(actions) = weft_lang::parse_actions(text) {
        let written = weft_lang::Actions(&actions).to_string();
        let again = weft_lang::parse_actions(&written);
        assert!(actions.is_empty() || again.as_ref() == Ok(&actions), "{written}");
    }
});
