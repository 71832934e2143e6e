//! What a client says over the control socket, and what a daemon answers.

use spine_client::daemon::protocol::{
    Call, FromDaemon, Request, VERSION, encode, parse, parse_answer,
};

/// Reads both languages; a call that is understood survives being said again.
pub fn run(data: &[u8]) {
    if let Ok(call) = parse(data)
        && let Ok(said) = encode(&call)
    {
        assert_eq!(parse(&said), Ok(call));
    }
    if let Ok(answer) = parse_answer(data)
        && let Ok(said) = encode(&answer)
    {
        assert_eq!(parse_answer(&said), Ok(answer));
    }
}

/// One of most kinds.
pub fn seeds() -> Vec<Vec<u8>> {
    let requests = [
        Request::Hello { version: VERSION, program: "fuzz".to_owned() },
        Request::Adapters,
        Request::Extensions { after: 7 },
        Request::Unload { extension: 1 },
        Request::Replace { extension: 1, signature: Some("spine-signature 00".to_owned()) },
        Request::Attach { extension: 1 },
        Request::Statistics { interface: "left".to_owned() },
    ];
    let calls = (0..).zip(requests).map(|(id, request)| encode(&Call { id, request }));
    let answers = [
        FromDaemon::Refused { id: 3, why: "no".to_owned() },
        FromDaemon::Ended { extension: 1, why: "strikes".to_owned() },
    ];
    calls.chain(answers.iter().map(encode)).filter_map(Result::ok).collect()
}
