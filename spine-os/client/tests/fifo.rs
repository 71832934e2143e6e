//! A FIFO between two processes: its descriptors cross a Unix socket, and either process may be
//! killed.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_client::fifo::{self, Closed, End, Fds, HostEnd, SendError, Side};

const LONG: Duration = Duration::from_secs(10);
/// Says which part of this file a child process plays.
const ROLE: &str = "SPINE_FIFO_TEST_SOCKET";

fn pass(socket: &UnixStream, fds: &Fds) {
    let borrowed = [fds.memory.as_fd(), fds.bell.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    sendmsg(socket, &[IoSlice::new(b"f")], &mut control, SendFlags::empty()).expect("sent");
}

fn take(socket: &UnixStream) -> Fds {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).expect("received");
    let fds: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    Fds::from_fds(fds.try_into().expect("two descriptors"))
}

/// The other process: an adapter that echoes until its host leaves. Does nothing where it is not
/// asked for.
#[test]
fn child_that_echoes() {
    let Ok(path) = std::env::var(ROLE) else { return };
    let socket = UnixStream::connect(path).expect("the parent listens");
    let mut end = End::open(Side::Adapter, take(&socket)).expect("an end");
    while let Ok(Some(message)) = end.receiver.receive(LONG) {
        end.sender.send(&message).expect("room");
    }
}

/// A process that has the adapter's end of a new FIFO, and the host's end.
struct Echo {
    child: Child,
    host: HostEnd,
    _folder: tempfile::TempDir,
}

impl Echo {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_that_echoes"])
            .env(ROLE, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        let (host, fds) = fifo::create(16).expect("a FIFO");
        let (socket, _) = listener.accept().expect("the child connects");
        pass(&socket, &fds);
        Self { child, host, _folder: folder }
    }

    fn ask(&mut self, argument: u64) -> Option<Message> {
        let message = Message::small(HandlerNumber(1), Endpoint::Host, &argument.to_le_bytes());
        self.host.send(&message).ok()?;
        self.host.receive(LONG).ok().flatten().inspect(|answer| assert_eq!(*answer, message))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_cross_between_processes_and_the_other_sees_us_leave() {
    let mut echo = Echo::start();
    for argument in 0..1000 {
        assert!(echo.ask(argument).is_some(), "{argument}");
    }
    let (end, _fds) = fifo::create(1).expect("a FIFO");
    drop(std::mem::replace(&mut echo.host, end));
    assert!(echo.child.wait().expect("a child").success(), "it ends by itself");
}

#[test]
fn a_process_that_is_killed_hangs_up_at_once() {
    let mut echo = Echo::start();
    assert!(echo.ask(1).is_some());
    echo.child.kill().expect("killed");
    let start = Instant::now();
    assert_eq!(echo.host.receive(LONG), Err(Closed::Left));
    assert!(start.elapsed() < LONG);
    let message = Message::small(HandlerNumber(1), Endpoint::Host, &[]);
    assert_eq!(echo.host.send(&message), Err(SendError::Closed(Closed::Left)));
}

#[test]
fn the_adapter_may_make_the_fifo_just_as_well() {
    let (mut adapter, fds) = spine_ring::create(Side::Adapter, 4).expect("a FIFO");
    let mut host = HostEnd::from_fds(fds).expect("an end");
    let message = Message::small(HandlerNumber(3), Endpoint::Extension(0), b"hello");
    adapter.sender.send(&message).expect("room");
    assert_eq!(host.try_receive(), Some(message));
    assert_eq!(host.try_receive(), None);
}
