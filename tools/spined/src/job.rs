//! A job: from a .wasm to an instance that an adapter can install, beside the server.
//!
//! A job reads the module, asks the policy, has it linked by another process, signs the image, and
//! prepares the instance with its regions. All of it takes time and none of it touches an adapter; what is
//! left is one turn of the adapter's loop. Which jobs run, and when, is `jobs`' to say.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ipnet::Ipv4Net;
use spine_abi::image::Image;
use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::{FUEL_PER_MESSAGE, PAGE_BYTES};
use spine_abi::manifest::Manifest;
use spine_client::daemon::file;
use spine_client::daemon::protocol::ExtensionNumber;
use spine_client::signature::{PublicKey, SecretKey, verify_author};
use spine_io::extension::{Loaded, Owner};
use spine_io::{Budget, Machine, RegionSource};
use spine_os::domain::{self, Exports};
use spine_os::linker::{UnsignedImage, imported_domains, manifest_of};
use spine_policy::{Asker, Granted, Limits, Policy, Wish};

use crate::claims::Claims;
use crate::clients::{ClientId, Who};
use crate::domains::{self, Linkage, Shown};
use crate::extensions::Usage;
use crate::link;
use crate::mail::Bell;

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

impl Order {
    /// Files that came with it.
    pub(crate) fn descriptors(&self) -> usize {
        1 + self.regions.len()
    }
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
    /// What granted it.
    pub(crate) policy: Arc<Policy>,
    /// The adapters that its packets and messages may go to, a bit each.
    pub(crate) egress: u64,
    /// The other users whose extensions it may send messages; `None`: all of them.
    messages: Option<Vec<u32>>,
}

impl Prepared {
    /// Whose it is, to its adapter.
    pub(crate) fn owner(&self, order: &Order) -> Owner {
        let (user, client) = (order.who.user, order.client.number());
        Owner { user, client, messages: self.messages.clone() }
    }
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
    /// The adapters' interfaces, in their order: 64 at most.
    pub(crate) interfaces: Vec<String>,
    /// Where the linker's process may run.
    pub(crate) room: link::Room,
    /// Images made so far.
    pub(crate) images: link::Cache,
}

/// Makes one instance; `gone` is rung when nobody waits for it any more.
pub(crate) fn prepare(
    order: &Order,
    tools: &Tools,
    policy: &Arc<Policy>,
    has: Usage,
    gone: &Bell,
) -> Result<Prepared, String> {
    let wasm = order.wasm.try_clone().map_err(|error| error.to_string())?;
    let wasm = file::unseal(wasm).map_err(|error| error.to_string())?;
    let manifest = manifest_of(&wasm).map_err(|error| error.to_string())?;
    let manifest = Manifest::parse(&manifest).map_err(|error| error.to_string())?;
    let wanted = imported_domains(&wasm).map_err(|error| error.to_string())?;
    let (granted, signer) = permit(order, policy, &wasm, &manifest, &wanted)?;
    let limits = granted.limits;
    let reached = tools.interfaces.iter().enumerate().filter(|(_, name)| granted.reaches(name));
    let egress = reached.fold(0, |egress, (at, _)| egress | 1_u64 << at);
    let messages = granted.messages().map(<[u32]>::to_vec);
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
    let image = image(&wasm, manifest.domains(), &exports, tools, gone)?;
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
        policy: Arc::clone(policy),
        egress,
        messages,
    })
}

/// The signed image of a module: one that was made before, or what another process says is its image.
pub(crate) fn image(
    wasm: &[u8],
    granted: Domains,
    exports: &Exports,
    tools: &Tools,
    gone: &Bell,
) -> Result<Arc<Vec<u8>>, String> {
    tools.images.image(wasm, granted, exports, || {
        let granted = domain::Policy::grant(granted);
        let linked = link::link(wasm, granted.granted(), exports, &tools.room, gone);
        let linked = linked.map_err(|error| error.to_string())?;
        let image = UnsignedImage::claimed(linked, wasm, &granted, exports, tools.compatibility)
            .map_err(|what| link::LinkerError::Nonsense(what).to_string())?;
        Ok(image.sign(&tools.key).into_bytes())
    })
}

/// Whether the policy, and the client himself, allow it; what is granted, and whose signature it carries.
fn permit<'a>(
    order: &Order,
    policy: &'a Policy,
    wasm: &[u8],
    manifest: &Manifest<'_>,
    imported: &[String],
) -> Result<(Granted<'a>, Option<PublicKey>), String> {
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
        claimant: order.claims.claimant,
        ports: &order.claims.ports,
        peers: &order.peers,
        exports: exported.as_deref(),
        links: &links,
    };
    let granted = policy.decide(&asker, &wish).map_err(|refusal| refusal.to_string())?;
    Ok((granted, signer))
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
