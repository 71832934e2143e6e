use super::*;
use proptest::prelude::*;

fn load() -> Load {
    Load {
        interface: "left".to_owned(),
        regions: vec![65536],
        prefixes: vec!["10.1.0.0/16".parse().unwrap()],
        ..Load::default()
    }
}

fn claim() -> Request {
    let prefix: Ipv4Net = "10.1.0.0/16".parse().unwrap();
    let address = "10.1.0.1".parse().unwrap();
    let changes = vec![
        ClaimChange::Take(prefix),
        ClaimChange::Leave(prefix),
        ClaimChange::Forget(prefix),
        ClaimChange::Own(address),
        ClaimChange::Disown(address),
    ];
    Request::Claim(Claim { extension: 1, enabled: Some(false), changes })
}

fn requests() -> Vec<Request> {
    vec![
        Request::Hello { version: VERSION, program: "test".to_owned() },
        Request::Adapters,
        Request::Extensions { after: 7 },
        Request::Load(load()),
        Request::Unload { extension: 1 },
        Request::Replace { extension: 1, signature: Some("spine-signature 00".to_owned()) },
        Request::Attach { extension: 1 },
        Request::Statistics { interface: "left".to_owned() },
        claim(),
        Request::Peers,
    ]
}

#[test]
fn requests_survive_the_wire() {
    for (id, request) in (0..).zip(requests()) {
        let call = Call { id, request };
        assert_eq!(parse(&encode(&call).unwrap()), Ok(call));
    }
}

#[test]
fn answers_survive_the_wire() {
    let said = [
        FromDaemon::Answer { id: 1, answer: Answer::Done },
        FromDaemon::Answer { id: 2, answer: Answer::Statistics(Box::default()) },
        FromDaemon::Refused { id: 3, why: "no".to_owned() },
        FromDaemon::Answer { id: 4, answer: Answer::Attached(Box::default()) },
        FromDaemon::Ended { extension: 1, why: "strikes".to_owned() },
    ];
    for said in said {
        assert_eq!(parse_answer(&encode(&said).unwrap()), Ok(said));
    }
}

#[test]
fn the_examples_in_the_documentation_are_understood() {
    let hello = br#"{"id":1,"request":{"hello":{"version":4,"program":"spinectl"}}}"#;
    assert!(matches!(parse(hello).unwrap().request, Request::Hello { version: VERSION, .. }));
    let load = br#"{"id":2,"request":{"load":{"interface":"eth1"}}}"#;
    let Request::Load(load) = parse(load).unwrap().request else { panic!("a load") };
    assert_eq!(load, Load { interface: "eth1".to_owned(), ..Load::default() });
}

#[test]
fn half_a_packet_and_every_flipped_byte_are_answered_with_an_error_or_another_call() {
    for request in requests() {
        let bytes = encode(&Call { id: 1, request }).unwrap();
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(call) = parse(&changed) {
                    assert_eq!(parse(&encode(&call).unwrap()), Ok(call));
                }
            }
        }
    }
}

#[test]
fn what_is_over_its_limit_is_named() {
    let refused = |request: Request| parse(&encode(&Call { id: 1, request }).unwrap()).unwrap_err();
    let long = "x".repeat(256);
    let cases = [
        (Request::Hello { version: 1, program: long.clone() }, "bytes of a name of 256"),
        (Request::Statistics { interface: long.clone() }, "bytes of a name"),
        (Request::Load(Load { regions: vec![65536; 5], ..load() }), "regions of 5: at most 4"),
        (
            Request::Load(Load { prefixes: vec![Ipv4Net::default(); 65], ..load() }),
            "prefixes of 65",
        ),
        (Request::Load(Load { ports: vec![7; 65], ..load() }), "ports of 65"),
        (
            Request::Claim(Claim {
                changes: vec![ClaimChange::Take(Ipv4Net::default()); 1025],
                ..Claim::default()
            }),
            "changes of 1025: at most 1024",
        ),
        (Request::Load(Load { peers: vec![String::new(); 65], ..load() }), "peers of 65"),
        (Request::Load(Load { peers: vec![long.clone()], ..load() }), "bytes of a name"),
        (Request::Load(Load { domains: Some(vec![long]), ..load() }), "bytes of a name"),
        (
            Request::Load(Load { signature: Some("0".repeat(4097)), ..load() }),
            "a signature of 4097",
        ),
    ];
    for (request, sentence) in cases {
        let error = refused(request).to_string();
        assert!(error.contains(sentence), "{error}");
    }
    assert_eq!(
        parse(&vec![b'['; PACKET_BYTES + 1]),
        Err(ProtocolError::TooLarge(PACKET_BYTES + 1))
    );
    assert!(parse(&vec![b'['; PACKET_BYTES]).is_err(), "nested without end");
}

#[test]
fn unknown_words_are_refused() {
    for text in [
        r#"{"id":1,"request":"adapters","more":1}"#,
        r#"{"id":1,"request":"format_disk"}"#,
        r#"{"id":-1,"request":"adapters"}"#,
        r#"{"id":1,"request":{"load":{"interface":"a","root":true}}}"#,
        r#"{"id":1,"request":{"attach":{"extension":-1}}}"#,
        r#"{"id":1,"request":{"send":{"extension":1,"handler":1,"arguments":"00"}}}"#,
        r#"{"id":1,"request":{"load":{"interface":"a","prefixes":["10.0.0.0/33"]}}}"#,
        r#"{"id":1,"request":{"claim":{"extension":1,"interface":"a"}}}"#,
        r#"{"id":1,"request":{"claim":{"extension":1,"changes":[{"steal":"10.0.0.0/8"}]}}}"#,
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
        let _ = parse_answer(&bytes);
    }
}
