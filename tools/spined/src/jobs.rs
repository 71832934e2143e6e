//! Jobs: which run, which wait, and whose end is theirs.
//!
//! Few jobs run at once, and of one user but one: nobody's modules keep everybody else's waiting. Root's run beside
//! those, so root waits for nobody. A client that goes takes its jobs with it: what waits is forgotten, with its
//! files, and what runs is told, which ends its linker ([`Jobs::forget`]).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use spine_policy::Policy;

use crate::clients::{ClientId, Standing};
use crate::extensions::Usage;
use crate::job::{self, Done, Order, Prepared, Tools};
use crate::mail::Bell;
use crate::queue::Queue;

/// Jobs at one time of all users but root, and those of root's beside them.
const RUNNING: usize = 2;
const OF_ROOT: usize = 2;
/// Jobs at one time of users whom no grant names.
const OF_STRANGERS: usize = 1;

/// What makes an instance.
type Work = dyn Fn(&Order, &Arc<Policy>, Usage, &Bell) -> Result<Prepared, String> + Send + Sync;
/// What starts a thread for a job.
type Start = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// An order, and what it is followed under.
struct Waiting {
    order: Order,
    policy: Arc<Policy>,
    has: Usage,
}

/// A job that runs.
struct Running {
    number: u64,
    client: ClientId,
    user: u32,
    standing: Standing,
    descriptors: usize,
    /// Rung when nobody waits for it any more.
    gone: Bell,
}

/// The jobs that run and those that wait.
pub(crate) struct Jobs {
    work: Arc<Work>,
    start: Start,
    bell: Bell,
    waiting: Queue<Waiting>,
    running: Vec<Running>,
    last: u64,
    done: Sender<(u64, Done)>,
    ended: Receiver<(u64, Done)>,
}

impl Jobs {
    /// None yet.
    pub(crate) fn new(tools: Tools) -> Self {
        let bell = tools.bell.clone();
        let work = move |order: &Order, policy: &Arc<Policy>, has, gone: &Bell| {
            job::prepare(order, &tools, policy, has, gone)
        };
        Self::with(Arc::new(work), start_thread, bell)
    }

    fn with(work: Arc<Work>, start: Start, bell: Bell) -> Self {
        let (done, ended) = channel();
        let (waiting, running) = (Queue::default(), Vec::new());
        Self { work, start, bell, waiting, running, last: 0, done, ended }
    }

    /// Has something made, under this policy, by a user who has so much already.
    ///
    /// # Errors
    /// A sentence: too many wait already.
    pub(crate) fn submit(
        &mut self,
        order: Order,
        policy: &Arc<Policy>,
        has: Usage,
    ) -> Result<(), String> {
        let (who, policy) = (order.who.clone(), Arc::clone(policy));
        self.waiting.push(&who, Waiting { order, policy, has })?;
        self.start();
        Ok(())
    }

    /// A client has gone: nobody waits for what it ordered.
    pub(crate) fn forget(&mut self, client: ClientId) {
        self.waiting.retain(|it| it.order.client != client);
        for running in self.running.iter().filter(|running| running.client == client) {
            running.gone.ring();
        }
    }

    /// Files that the orders of each user hold, those that wait and those that are being followed.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (u32, usize)> {
        let waiting = self.waiting.iter().map(|(user, it)| (user, it.order.descriptors()));
        waiting.chain(self.running.iter().map(|running| (running.user, running.descriptors)))
    }

    /// The next job that has ended.
    pub(crate) fn next_ended(&mut self) -> Option<Done> {
        let (number, done) = self.ended.try_recv().ok()?;
        self.running.retain(|running| running.number != number);
        self.start();
        Some(done)
    }

    /// Starts what may run.
    fn start(&mut self) {
        loop {
            let running = &self.running;
            let Some(next) = self.waiting.next(|user, standing| may_run(running, user, standing))
            else {
                return;
            };
            self.last += 1;
            let number = self.last;
            if let Err(failed) = self.begin(number, next) {
                let (order, why) = *failed;
                tracing::error!(%why, "there is no thread for a job");
                let result = Err(format!("spined has no thread to load this with: {why}"));
                // We have the other end.
                let _ = self.done.send((number, Done { order, result }));
                self.bell.ring();
            }
        }
    }

    /// Starts one, or gives the order back.
    fn begin(&mut self, number: u64, next: Waiting) -> Result<(), Box<(Order, io::Error)>> {
        let Waiting { order, policy, has } = next;
        let gone = match Bell::new() {
            Ok(gone) => gone,
            Err(error) => return Err(Box::new((order, error))),
        };
        self.running.push(Running {
            number,
            client: order.client,
            user: order.who.user,
            standing: order.who.standing,
            descriptors: order.descriptors(),
            gone: gone.clone(),
        });
        let (work, done, bell) = (Arc::clone(&self.work), self.done.clone(), self.bell.clone());
        // It is handed over once the thread is there: one that cannot be started takes nothing with it.
        let (to_thread, given) = channel::<Order>();
        let started = (self.start)(Box::new(move || {
            let Ok(order) = given.recv() else { return };
            let result = work(&order, &policy, has, &gone);
            // The server may have ended.
            let _ = done.send((number, Done { order, result }));
            bell.ring();
        }));
        match started {
            Ok(()) => to_thread
                .send(order)
                .map_err(|lost| Box::new((lost.0, io::Error::other("it ended before it began")))),
            Err(error) => Err(Box::new((order, error))),
        }
    }
}

/// Whether one more job of a user may run beside these.
fn may_run(running: &[Running], user: u32, standing: Standing) -> bool {
    let alike = |is: fn(Standing) -> bool| running.iter().filter(|it| is(it.standing)).count();
    match standing {
        Standing::Root => alike(|it| it == Standing::Root) < OF_ROOT,
        Standing::Stranger if alike(|it| it == Standing::Stranger) >= OF_STRANGERS => false,
        _ => alike(|it| it != Standing::Root) < RUNNING && running.iter().all(|it| it.user != user),
    }
}

fn start_thread(run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    std::thread::Builder::new().name("spine-job".to_owned()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags};
    use spine_client::daemon::socket::{Connection, Peer};

    use crate::claims::Claims;
    use crate::clients::Clients;
    use crate::job::Then;

    /// Clients, each with its far end.
    #[derive(Default)]
    struct Crowd {
        clients: Clients,
        ends: Vec<Connection>,
    }

    impl Crowd {
        fn come(&mut self, user: u32) -> ClientId {
            let (ours, theirs) = Connection::pair().expect("a pair");
            self.ends.push(theirs);
            let peer = Peer { process: 0, user, group: 7 };
            self.clients.admit(ours, peer, &Policy::default()).expect("room")
        }

        fn order(&self, client: ClientId, call: u64) -> Order {
            let file = self.ends[0].as_fd().try_clone_to_owned().expect("a descriptor");
            let mut who = self.clients.all[&client].who.clone();
            if who.user != 0 {
                who.standing = Standing::Granted;
            }
            Order {
                client,
                call,
                who,
                wasm: file.try_clone().expect("a descriptor"),
                signature: None,
                wire: 0,
                interface: "a".to_owned(),
                claims: Claims::default(),
                peers: Vec::new(),
                domains: None,
                fuel: None,
                regions: vec![(file, 0)],
                shown: Vec::new(),
                then: Then::Load { keep: false, handler: None },
            }
        }
    }

    const A: u32 = 4_000_001;
    const B: u32 = 4_000_002;
    const C: u32 = 4_000_003;

    #[test]
    fn a_job_without_a_thread_is_answered_and_so_are_those_behind_it() {
        let fail: Start = |_| Err(io::Error::from(io::ErrorKind::WouldBlock));
        let work = |_: &Order, _: &Arc<Policy>, _, _: &Bell| -> Result<Prepared, String> {
            panic!("there is no thread to run this on")
        };
        let mut jobs = Jobs::with(Arc::new(work), fail, Bell::new().expect("a bell"));
        let (mut crowd, policy) = (Crowd::default(), Arc::default());
        let client = crowd.come(A);
        for call in 0..5 {
            let order = crowd.order(client, call);
            jobs.submit(order, &policy, Usage::default()).expect("room");
        }
        for call in 0..5 {
            let done = jobs.next_ended().expect("an answer");
            assert_eq!(done.order.call, call);
            let why = done.result.expect_err("nothing was made");
            assert!(why.contains("no thread"), "{why}");
        }
        assert!(jobs.next_ended().is_none() && jobs.running.is_empty());
    }

    /// Jobs that say when they begin, and run until they are told that nobody waits.
    fn endless(begun: SyncSender<u64>) -> Jobs {
        let work =
            move |order: &Order, _: &Arc<Policy>, _, gone: &Bell| -> Result<Prepared, String> {
                begun.send(order.call).expect("the test listens");
                let mut wait = [PollFd::new(gone, PollFlags::IN)];
                rustix::event::poll(&mut wait, None).expect("a bell");
                Err("stopped".to_owned())
            };
        Jobs::with(Arc::new(work), start_thread, Bell::new().expect("a bell"))
    }

    fn next(begun: &Receiver<u64>) -> u64 {
        begun.recv_timeout(Duration::from_secs(30)).expect("one begins")
    }

    fn wait_for_end(jobs: &mut Jobs) -> Done {
        loop {
            if let Some(done) = jobs.next_ended() {
                return done;
            }
            let mut wait = [PollFd::new(&jobs.bell, PollFlags::IN)];
            rustix::event::poll(&mut wait, None).expect("a bell");
            jobs.bell.silence();
        }
    }

    fn held(jobs: &Jobs, user: u32) -> usize {
        jobs.descriptors().filter(|(of, _)| *of == user).map(|(_, count)| count).sum()
    }

    #[test]
    fn a_client_that_goes_takes_what_it_ordered_and_its_files_with_it() {
        let (to, begun) = sync_channel(16);
        let (mut jobs, mut crowd, policy) = (endless(to), Crowd::default(), Arc::default());
        let (one, other, third) = (crowd.come(A), crowd.come(A), crowd.come(B));
        for (client, call) in [(one, 1), (one, 2), (other, 3), (one, 4)] {
            jobs.submit(crowd.order(client, call), &policy, Usage::default()).expect("room");
        }
        jobs.submit(crowd.order(third, 5), &policy, Usage::default()).expect("room");
        let mut first = [next(&begun), next(&begun)];
        first.sort_unstable();
        assert_eq!(first, [1, 5], "one of each user's");
        assert_eq!((held(&jobs, A), held(&jobs, B)), (8, 2));

        jobs.forget(one);
        assert_eq!(wait_for_end(&mut jobs).order.call, 1, "its running one is stopped");
        assert_eq!(next(&begun), 3, "those that waited are forgotten, the other client's is not");
        assert_eq!((held(&jobs, A), held(&jobs, B)), (2, 2));
        jobs.forget(other);
        jobs.forget(third);
        for _ in 0..2 {
            wait_for_end(&mut jobs);
        }
        assert_eq!(jobs.descriptors().count(), 0);
    }

    #[test]
    fn root_waits_for_nobody_and_a_third_user_for_no_ones_second_order() {
        let (to, begun) = sync_channel(16);
        let (mut jobs, mut crowd, policy) = (endless(to), Crowd::default(), Arc::default());
        let clients = [A, B, C, 0].map(|user| crowd.come(user));
        let [a, b, c, root] = clients;
        for (client, call) in [(a, 1), (a, 11), (b, 2), (b, 12), (c, 3)] {
            jobs.submit(crowd.order(client, call), &policy, Usage::default()).expect("room");
        }
        let mut first = [next(&begun), next(&begun)];
        first.sort_unstable();
        assert_eq!(first, [1, 2]);
        jobs.submit(crowd.order(root, 9), &policy, Usage::default()).expect("room");
        assert_eq!(next(&begun), 9, "beside them");
        jobs.running.iter().find(|it| it.user == A).expect("runs").gone.ring();
        wait_for_end(&mut jobs);
        assert_eq!(next(&begun), 3, "before the second order of the first");
        clients.iter().for_each(|client| jobs.forget(*client));
        for _ in 0..3 {
            wait_for_end(&mut jobs);
        }
        assert!(jobs.running.is_empty());
    }
}
