//! Jobs: from a .wasm to an instance that an adapter can install, beside the server.
//!
//! A job reads the module, asks the policy, has it linked by another process, signs the image, and
//! prepares the instance with its regions. All of it takes time and none of it touches an adapter; what is
//! left is one turn of the adapter's loop. Few jobs run at once, at most one for each user while others
//! wait, so that nobody's modules keep everybody else's waiting.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ipnet::Ipv4Net;
use spine_abi::image::Image;
use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::{FUEL_PER_MESSAGE, PAGE_BYTES};
use spine_abi::manifest::Manifest;
use spine_client::daemon::file;
use spine_client::daemon::protocol::ExtensionNumber;
use spine_client::signature::{PublicKey, SecretKey, verify_author};
use spine_io::extension::Loaded;
use spine_io::{Budget, Machine, RegionSource};
use spine_os::domain::{self, Exports};
use spine_os::linker::{UnsignedImage, imported_domains, manifest_of};
use spine_policy::{Asker, Limits, Policy, Wish};

use crate::claims::Claims;
use crate::clients::{ClientId, Who};
use crate::domains::{self, Linkage, Shown};
use crate::extensions::Usage;
use crate::link;
use crate::mail::Bell;

/// Jobs at one time.
const RUNNING: usize = 2;

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Order {
    /// Who wants it, and the number of his call.
    pub(crate) client: ClientId,
    pub(crate) call: u64,
    pub(crate) who: Who,
    /// The module, as it came.
    pub(crate) wasm: OwnedFd,
    pub(crate) signature: Option<String>,
    /// Where it goes.
    pub(crate) wire: usize,
    pub(crate) interface: String,
    pub(crate) claims: Claims,
    /// The peers it may send to.
    pub(crate) peers: Vec<String>,
    /// What the extensions there export, as it was when this was asked for.
    pub(crate) shown: Vec<Shown>,
    /// The only domains it may have, if the client said so.
    pub(crate) domains: Option<Domains>,
    pub(crate) fuel: Option<u64>,
    pub(crate) regions: Vec<(OwnedFd, u64)>,
    pub(crate) then: Then,
}

/// What becomes of it.
#[derive(Debug)]
pub(crate) enum Then {
    /// A new extension.
    Load {
        /// Whether it outlives its client.
        keep: bool,
        /// Which handler gets the packets it claims.
        handler: Option<u16>,
    },
    /// The next version of this one.
    Replace(ExtensionNumber),
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The instance, until it is given to its adapter.
    pub(crate) loaded: Option<Loaded>,
    pub(crate) name: String,
    pub(crate) handlers: Vec<u16>,
    pub(crate) domains: Domains,
    pub(crate) linkage: Linkage,
    pub(crate) memory: u64,
    pub(crate) fuel: u64,
    pub(crate) limits: Limits,
    pub(crate) signer: Option<PublicKey>,
}

/// A job that has ended.
pub(crate) struct Done {
    pub(crate) order: Order,
    pub(crate) result: Result<Prepared, String>,
}

/// What every job needs.
pub(crate) struct Tools {
    pub(crate) key: SecretKey,
    pub(crate) compatibility: u64,
    pub(crate) machine: Arc<Machine>,
    pub(crate) bell: Bell,
}

/// What makes an instance.
type Work = dyn Fn(&Order, &Policy, Usage) -> Result<Prepared, String> + Send + Sync;
/// What starts a thread for a job.
type Start = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// The jobs that run and those that wait.
pub(crate) struct Jobs {
    work: Arc<Work>,
    start: Start,
    bell: Bell,
    waiting: VecDeque<(Order, Arc<Policy>, Usage)>,
    running: Vec<u32>,
    done: Sender<Done>,
    ended: Receiver<Done>,
}

impl Jobs {
    /// None yet.
    pub(crate) fn new(tools: Tools) -> Self {
        let bell = tools.bell.clone();
        let work = move |order: &Order, policy: &Policy, has| prepare(order, &tools, policy, has);
        Self::with(Arc::new(work), start_thread, bell)
    }

    fn with(work: Arc<Work>, start: Start, bell: Bell) -> Self {
        let (done, ended) = channel();
        let (waiting, running) = (VecDeque::new(), Vec::new());
        Self { work, start, bell, waiting, running, done, ended }
    }

    /// Has something made, under this policy, by a user who has so much already.
    pub(crate) fn submit(&mut self, order: Order, policy: &Arc<Policy>, has: Usage) {
        self.waiting.push_back((order, Arc::clone(policy), has));
        self.start();
    }

    /// The next job that has ended.
    pub(crate) fn next_ended(&mut self) -> Option<Done> {
        let done = self.ended.try_recv().ok()?;
        if let Some(at) = self.running.iter().position(|user| *user == done.order.who.user) {
            self.running.swap_remove(at);
        }
        self.start();
        Some(done)
    }

    /// Starts what may run.
    fn start(&mut self) {
        while self.running.len() < RUNNING {
            // Who has none running goes first.
            let idle = |(order, _, _): &(Order, _, _)| !self.running.contains(&order.who.user);
            let at = self.waiting.iter().position(idle).unwrap_or(0);
            let Some((order, policy, has)) = self.waiting.remove(at) else { return };
            self.running.push(order.who.user);
            if let Err(failed) = self.begin(order, policy, has) {
                let (order, why) = *failed;
                tracing::error!(%why, "there is no thread for a job");
                let result = Err(format!("spined has no thread to load this with: {why}"));
                // We have the other end.
                let _ = self.done.send(Done { order, result });
                self.bell.ring();
            }
        }
    }

    /// Starts one, or gives the order back.
    fn begin(
        &self,
        order: Order,
        policy: Arc<Policy>,
        has: Usage,
    ) -> Result<(), Box<(Order, io::Error)>> {
        let (work, done, bell) = (Arc::clone(&self.work), self.done.clone(), self.bell.clone());
        // It is handed over once the thread is there: one that cannot be started takes nothing with it.
        let (to_thread, given) = channel::<Order>();
        let started = (self.start)(Box::new(move || {
            let Ok(order) = given.recv() else { return };
            let result = work(&order, &policy, has);
            // The server may have ended.
            let _ = done.send(Done { order, result });
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

fn start_thread(run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    std::thread::Builder::new().name("spine-job".to_owned()).spawn(run).map(drop)
}

/// Makes one instance.
fn prepare(order: &Order, tools: &Tools, policy: &Policy, has: Usage) -> Result<Prepared, String> {
    let wasm = order.wasm.try_clone().map_err(|error| error.to_string())?;
    let wasm = file::unseal(wasm).map_err(|error| error.to_string())?;
    let manifest = manifest_of(&wasm).map_err(|error| error.to_string())?;
    let manifest = Manifest::parse(&manifest).map_err(|error| error.to_string())?;
    let wanted = imported_domains(&wasm).map_err(|error| error.to_string())?;
    let (limits, signer) = permit(order, policy, &wasm, &manifest, &wanted)?;
    let region_bytes = order.regions.iter().map(|(_, bytes)| bytes).sum();
    let claims = order.claims.prefixes.len() as u64;
    let more = Usage { extensions: 1, memory: 0, region_bytes, claims };
    if let Then::Load { .. } = order.then
        && let Some(over) = has.over(more, &limits)
    {
        return Err(over);
    }
    let fuel = order.fuel.unwrap_or_else(|| FUEL_PER_MESSAGE.min(limits.fuel_per_message));
    if fuel > limits.fuel_per_message {
        return Err(format!(
            "{fuel} units of fuel a message are asked for, and the policy allows this user {}",
            limits.fuel_per_message
        ));
    }

    let exports = domains::exports(&order.shown, &wanted);
    let image = image(&wasm, manifest.domains(), &exports, tools)?;
    let parts = Image::parse(&image).map_err(|error| error.to_string())?;
    let adapter = tools.machine.adapters().get(order.wire).ok_or("the adapter is gone")?;
    let budget = Budget { message: fuel, entry: 8 * fuel, ..Budget::default() };
    let loaded =
        adapter.prepare(&image, sources(order)?, budget).map_err(|error| error.to_string())?;
    Ok(Prepared {
        loaded: Some(loaded),
        name: readable(manifest.name()),
        handlers: manifest.handlers().map(|handler| handler.number.0).collect(),
        domains: parts.header.domains,
        linkage: Linkage::of(&parts),
        memory: u64::from(parts.header.memory_pages) * PAGE_BYTES as u64,
        fuel,
        limits,
        signer,
    })
}

/// Has a module linked by another process, and signs what that says is its image.
pub(crate) fn image(
    wasm: &[u8],
    granted: Domains,
    exports: &Exports,
    tools: &Tools,
) -> Result<Vec<u8>, String> {
    let granted = domain::Policy::grant(granted);
    let linked = link::link(wasm, granted.granted(), exports).map_err(|error| error.to_string())?;
    let image = UnsignedImage::claimed(linked, wasm, &granted, exports, tools.compatibility)
        .map_err(|what| link::LinkerError::Nonsense(what).to_string())?;
    Ok(image.sign(&tools.key).into_bytes())
}

/// Whether the policy, and the client himself, allow it; the limits, and whose signature it carries.
fn permit(
    order: &Order,
    policy: &Policy,
    wasm: &[u8],
    manifest: &Manifest<'_>,
    imported: &[String],
) -> Result<(Limits, Option<PublicKey>), String> {
    let name = readable(manifest.name());
    let signer = match &order.signature {
        Some(text) => verify_author(wasm, text, &policy.signers()).ok(),
        None => None,
    };
    let wanted = manifest.domains();
    if let Some(only) = order.domains
        && let Some(refused) =
            wanted.iter().find(|domain| *domain != Domain::Core && !only.contains(*domain))
    {
        return Err(format!(
            "the extension {name} asks for the domain {}, which is not among those it was to have (--domain)",
            refused.name()
        ));
    }
    let exported = manifest.exports().map(|domain| domain.name().to_owned());
    // What is not there has no owner, and the linker says so.
    let links: Vec<(u32, &str)> = order
        .shown
        .iter()
        .filter(|one| imported.iter().any(|name| name == one.name()))
        .map(|one| (one.user, one.name()))
        .collect();
    let who = &order.who;
    let asker = Asker { user: who.user, name: &who.name, groups: &who.groups, signer };
    let prefixes: Vec<Ipv4Net> = order.claims.taken().collect();
    let wish = Wish {
        extension: &name,
        interface: &order.interface,
        domains: wanted,
        prefixes: &prefixes,
        ports: &order.claims.ports,
        peers: &order.peers,
        exports: exported.as_deref(),
        links: &links,
    };
    let limits = policy.decide(&asker, &wish).map_err(|refusal| refusal.to_string())?;
    Ok((limits, signer))
}

/// The regions, for the instance; the order keeps its own.
fn sources(order: &Order) -> Result<Vec<RegionSource>, String> {
    let one = |(file, bytes): &(OwnedFd, u64)| {
        let file = file.try_clone().map_err(|error| error.to_string())?;
        let bytes = usize::try_from(*bytes).map_err(|_| "a region is too large".to_owned())?;
        Ok(RegionSource { file, bytes })
    };
    order.regions.iter().map(one).collect()
}

/// A name that a stranger chose, fit for a terminal.
fn readable(name: &str) -> String {
    name.escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    use spine_client::daemon::socket::{Connection, Peer};

    fn order(clients: &mut crate::clients::Clients, call: u64) -> Order {
        let (ours, theirs) = Connection::pair().expect("a pair");
        let peer = Peer { process: 0, user: 4_000_000, group: 7 };
        let client = clients.admit(ours, peer).expect("room");
        Order {
            client,
            call,
            who: clients.all.get(&client).expect("there").who.clone(),
            wasm: theirs.as_fd().try_clone_to_owned().expect("a descriptor"),
            signature: None,
            wire: 0,
            interface: "a".to_owned(),
            claims: Claims::default(),
            peers: Vec::new(),
            domains: None,
            fuel: None,
            regions: Vec::new(),
            shown: Vec::new(),
            then: Then::Load { keep: false, handler: None },
        }
    }

    #[test]
    fn a_job_without_a_thread_is_answered_and_so_are_those_behind_it() {
        let fail: Start = |_| Err(io::Error::from(io::ErrorKind::WouldBlock));
        let work = |_: &Order, _: &Policy, _| -> Result<Prepared, String> {
            panic!("there is no thread to run this on")
        };
        let mut jobs = Jobs::with(Arc::new(work), fail, Bell::new().expect("a bell"));
        let (mut clients, policy) = (crate::clients::Clients::default(), Arc::default());
        for call in 0..5 {
            jobs.submit(order(&mut clients, call), &policy, Usage::default());
        }
        for call in 0..5 {
            let done = jobs.next_ended().expect("an answer");
            assert_eq!(done.order.call, call);
            let why = done.result.expect_err("nothing was made");
            assert!(why.contains("no thread"), "{why}");
        }
        assert!(jobs.next_ended().is_none() && jobs.running.is_empty());
    }
}
