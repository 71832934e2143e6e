//! Making an instance: everything that happens before the first message, in the thread of whoever loads it.
//!
//! The image is verified, the module instantiated with the imports it may have, slots and regions are laid out
//! behind its own memory, and `init` runs, on fuel of its own. Nothing of it touches an adapter.

use std::sync::Arc;

use spine_abi::declaration::{DomainDeclaration, InterfaceDeclaration};
use spine_abi::interface::{EXPORT_INIT, EXPORT_MEMORY, EXPORT_RUN, EXPORT_STACK_POINTER};
use spine_abi::limits::{BURST, MEMORY_BYTES};
use spine_nic::buffer::FrameMemory;
use wasmtime::{Engine, Func, Memory, Store, Val};

use super::{Budget, Instance, LoadError, Loaded};
use crate::extension::image::{ImageError, TrustedKey, Verified};
use crate::extension::imports;
use crate::extension::link::{self, Link};
use crate::extension::state::{Handler, Phase, State};
use crate::extension::sys;
use crate::id::{FifoId, User};
use crate::region::{CheckedRegion, RegionSource};
use crate::stats::Mail;
/// Fuel for `init`: it runs before any packet, so it may take longer than a handler.
const INIT_FUEL: u64 = 50_000_000;

/// Everything an instance is made from.
pub(crate) struct Ingredients<'a> {
    /// The runtime's engine.
    pub(crate) engine: &'a Engine,
    /// Whose images are run.
    pub(crate) key: &'a TrustedKey,
    /// The image.
    pub(crate) image: &'a [u8],
    /// What the application shares.
    pub(crate) regions: Vec<RegionSource>,
    /// The frames that messages may refer to.
    pub(crate) frames: Arc<FrameMemory>,
    /// Which adapter it is for.
    pub(crate) adapter: u16,
    /// What it may use.
    pub(crate) budget: Budget,
}

impl Instance {
    /// Verifies, instantiates and initialises an extension. No handler runs yet.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays behind.
    pub(crate) fn load(from: Ingredients<'_>) -> Result<Loaded, LoadError> {
        let verified = from.key.verify(from.image, spine_engine::compatibility(from.engine))?;
        let code = |error: wasmtime::Error| ImageError::Code(error.to_string());
        let module = sys::module(from.engine, &verified).map_err(code)?;
        let linker = imports::bind(from.engine, verified.image()).map_err(code)?;

        let mut store = Store::new(from.engine, state(&verified, &from));
        store.set_fuel(INIT_FUEL).map_err(code)?;
        let instance = linker.instantiate(&mut store, &module).map_err(code)?;
        let run = instance
            .get_typed_func::<(), ()>(&mut store, EXPORT_RUN)
            .map_err(|_| LoadError::Export("exported function `run`"))?;
        let memory = instance
            .get_memory(&mut store, EXPORT_MEMORY)
            .ok_or(LoadError::Export("exported memory"))?;
        let stack_pointer = instance.get_global(&mut store, EXPORT_STACK_POINTER);
        let stack_pointer = stack_pointer.and_then(|global| match global.get(&mut store) {
            Val::I32(value) => Some((global, value)),
            _ => None,
        });
        store.data_mut().stack_pointer = stack_pointer;
        let exports = verified.image().manifest.exports();
        store.data_mut().interfaces = interfaces(&mut store, &instance, exports)?;
        let exports = exports.map(|declaration| declaration.as_bytes().to_vec());
        let linked = !store.data().links.is_empty();
        let init = instance.get_typed_func::<(), ()>(&mut store, EXPORT_INIT).ok();

        let name = verified.image().manifest.name().to_owned();
        let stride = verified.image().manifest.slot_stride();
        let wanted = verified.image().manifest.regions();
        let budget = from.budget;
        let header = &verified.image().header;
        let own = memory.data_size(&store) + header.wasm_code as usize + stride;
        let card_bytes = own + from.regions.iter().map(|region| region.bytes).sum::<usize>();
        let (applications, mail) = (vec![FifoId::OWN], Mail::default());
        let spares = Vec::new();
        let mut this = Box::new(Self {
            name,
            store,
            run,
            budget,
            applications,
            user: User::default(),
            stop: None,
            remotes: None,
            owner: None,
            numbers: None,
            mail,
            card_bytes,
            exports,
            linked,
            spares,
        });
        this.lay_out(memory, stride, wanted, &from.regions)?;
        if let Some(init) = init {
            init.call(&mut this.store, ()).map_err(|error| LoadError::Init {
                name: this.name.clone(),
                why: format!("{error:#}"),
            })?;
        }
        link::restore_stack(&mut this.store);
        this.store.data_mut().phase = Phase::Run;
        Ok(this)
    }

    /// Puts slots and regions behind the module's own memory.
    fn lay_out(
        &mut self,
        memory: Memory,
        stride: usize,
        wanted: usize,
        regions: &[RegionSource],
    ) -> Result<(), LoadError> {
        let name = || self.name.clone();
        if regions.len() != wanted {
            return Err(LoadError::Regions { name: name(), wanted, given: regions.len() });
        }
        let own = memory.data_size(&self.store);
        if own > MEMORY_BYTES {
            let why = format!("it wants {own} bytes, and {MEMORY_BYTES} is the limit");
            return Err(LoadError::Memory { name: name(), why });
        }
        let mut checked = Vec::with_capacity(wanted);
        for (index, region) in regions.iter().enumerate() {
            let refuse = |why| LoadError::Region { index, name: name(), why };
            checked.push(CheckedRegion::new(region).map_err(refuse)?);
        }
        let layout = sys::lay_out(&mut self.store, memory, stride * BURST, &checked)
            .map_err(|why| LoadError::Memory { name: self.name.clone(), why })?;
        let state = self.store.data_mut();
        let places = layout.regions.iter();
        state.regions = places.map(|(at, bytes)| (address(*at), address(*bytes))).collect();
        state.slots = address(layout.slots);
        state.stride = address(stride);
        state.own = Some(layout.own);
        state.paging.share(layout.populated && !layout.regions.is_empty());
        Ok(())
    }
}

/// The functions behind the interfaces that an extension's manifest declares.
fn interfaces(
    store: &mut Store<State>,
    instance: &wasmtime::Instance,
    exports: Option<DomainDeclaration<'_>>,
) -> Result<Vec<Func>, LoadError> {
    let Some(domain) = exports else { return Ok(Vec::new()) };
    let function = |interface: InterfaceDeclaration<'_>| {
        let symbol = format!("{}.{}", domain.name(), interface.name);
        let wanted = link::function_type(store.engine(), interface.signature);
        let found = instance.get_func(&mut *store, &symbol);
        found
            .filter(|function| wasmtime::FuncType::eq(&function.ty(&*store), &wanted))
            .ok_or(LoadError::Export("function for an interface that its manifest declares"))
    };
    domain.interfaces().map(function).collect()
}

/// The state of an extension that has not run yet.
fn state(verified: &Verified<'_>, from: &Ingredients<'_>) -> State {
    let handlers = verified.image().manifest.handlers().map(|declared| Handler {
        number: declared.number.0,
        prefix: declared.prefix,
        writeback: declared.writeback,
        context: 0,
    });
    let links = verified
        .image()
        .links
        .iter()
        .map(|link| Link { declaration: link.as_bytes().to_vec(), place: u16::MAX });
    State {
        domains: verified.image().header.domains,
        handlers: handlers.collect(),
        burst: Vec::with_capacity(BURST),
        links: links.collect(),
        ..State::new(Arc::clone(&from.frames), from.adapter)
    }
}

/// An address in linear memory, all of which is under 4 GiB (asserted in `spine_abi::limits`).
#[expect(clippy::cast_possible_truncation, reason = "linear memory is under 4 GiB")]
#[inline]
fn address(bytes: usize) -> u32 {
    bytes as u32
}
