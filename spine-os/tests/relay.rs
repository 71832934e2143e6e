//! The extension that the client library makes for itself, as the linker sees it.

use spine_abi::interface::{Domain, Domains};
use spine_client::daemon::protocol::PeerInfo;
use spine_client::relay;
use spine_client::signature::SecretKey;
use spine_os::domain::Policy;
use spine_os::linker::Linker;

#[test]
fn it_links_with_the_domains_it_needs_and_no_more() {
    let peer = PeerInfo { number: 3, ..PeerInfo::default() };
    let policy = |domains| Policy::grant(domains);
    let link = |policy| {
        let linker = Linker::new(SecretKey::generate().unwrap(), policy).unwrap();
        linker.link(&relay::module(&peer, 7, 1)).map(drop)
    };
    let both = Domains::CORE.with(Domain::Peer).with(Domain::Host);
    link(policy(both)).unwrap();
    let error = link(policy(Domains::CORE.with(Domain::Host))).unwrap_err().to_string();
    assert!(error.contains("peer"), "{error}");
}
