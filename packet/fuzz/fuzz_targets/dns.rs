//! Any bytes are read as a DNS question and answered within what the asker takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_packet::dns::{Name, Question, Record};

fuzz_target!(|payload: &[u8]| {
    let Ok(question) = Question::parse(payload) else { return };
    let name = question.name().and_then(|name| Name::new(&name).ok());
    let addresses = (0..payload.len() as u8).map(|n| match n % 2 {
        0 => Record::A([10, 0, 0, n].into()),
        _ => Record::Aaaa([n; 16].into()),
    });
    let records: Vec<Record> = name.map(Record::Ptr).into_iter().chain(addresses).collect();
    let answer = question.answer(&records);
    let limit = question.edns.map_or(512, |edns| edns.size.clamp(512, 1232));
    assert!(answer.len() <= usize::from(limit), "{} > {limit}", answer.len());
});
