//! Calls from one extension into another, through the interfaces of a domain that the other exports.
//!
//! Each extension has a store of its own. While one runs that was linked against others, their stores are
//! lent to it: they lie in its *rack*, and a call takes the callee's out, hands it the rest of the rack, and
//! puts both back when it returns. So nothing is shared and nothing is locked; what is being called is not
//! in the rack, and cannot be called again from below; and an extension without links runs as if none of
//! this were there.
//!
//! Only numbers go across. The callee runs on what the caller has left of its message's fuel, and what it
//! used is taken off: whoever calls pays, and a callee that never comes back stops its caller, who gets
//! the strike. A callee that *traps* stops its caller, too, but gets the strike itself: what it is called
//! with are allegations to it, as packets are, and the caller can do nothing about its mistakes. In both
//! cases the callee's shadow stack is put back; whatever else it had half done, it was told it might be
//! stopped (SPINE 3.3.2).

use spine_abi::declaration::{DomainDeclaration, Signature};
use spine_abi::interface::{EXTENSION_CALL, Value};
use wasmtime::{AsContextMut, Caller, Engine, FuncType, Linker, Result, Store, Trap, Val, ValType};

use super::paging;
use super::state::{Phase, State};

/// A domain that an extension was linked against.
pub(super) struct Link {
    /// What the domain was declared as then.
    pub(super) declaration: Vec<u8>,
    /// Where its extension is on the adapter, once this one is installed.
    pub(super) place: u16,
}

/// An extension's store, in the rack of one that may call it; outside of entries, a vacant one in its place.
pub(crate) struct Lent {
    /// Whose it is: its place on the adapter.
    pub(crate) place: u16,
    pub(super) store: Store<State>,
    /// Frames that it kept before.
    pub(crate) kept: usize,
}

impl Lent {
    /// A vacant store for the extension at `place`, like that of `owner`.
    pub(super) fn vacant(owner: &Store<State>, place: u16) -> Self {
        let state = State::vacant(owner.data());
        Self { place, store: Store::new(owner.engine(), state), kept: 0 }
    }
}

/// What a caller is stopped by when its callee trapped, or one that was called from there.
#[derive(Debug, thiserror::Error)]
#[error("an extension that it called trapped")]
pub(super) struct CalleeTrapped;

/// Binds the interfaces of the domain that is the `index`th link of an extension.
pub(super) fn bind(
    linker: &mut Linker<State>,
    engine: &Engine,
    index: usize,
    link: &DomainDeclaration<'_>,
) -> Result<()> {
    for (position, interface) in link.interfaces().enumerate() {
        let ty = function_type(engine, interface.signature);
        linker.func_new(link.name(), interface.name, ty, move |caller, arguments, results| {
            call(caller, (index, position), arguments, results)
        })?;
    }
    Ok(())
}

/// An interface's type, as wasmtime has it.
pub(super) fn function_type(engine: &Engine, signature: Signature) -> FuncType {
    let ty = |value| match value {
        Value::I32 => ValType::I32,
        Value::I64 => ValType::I64,
    };
    FuncType::new(engine, signature.parameters().map(ty), signature.result().map(ty))
}

/// Calls the `position`th interface of the caller's `index`th link.
fn call(
    mut caller: Caller<'_, State>,
    (index, position): (usize, usize),
    arguments: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let fuel = caller.get_fuel()?.checked_sub(EXTENSION_CALL).ok_or(Trap::OutOfFuel)?;
    let state = caller.data_mut();
    if state.phase == Phase::Init {
        let text = "it calls another extension: those are there for handlers, and not yet for init";
        return Err(wasmtime::Error::msg(text));
    }
    let place = state.links.get(index).map(|link| link.place);
    let found = state.rack.iter().position(|lent| Some(lent.place) == place);
    // The adapter lends all that can be reached, and no call comes back to one that is being called.
    let mut callee = state.rack.swap_remove(found.ok_or(CalleeTrapped)?);

    std::mem::swap(&mut state.rack, &mut callee.store.data_mut().rack);
    let before = state.paging.is_looking().then(paging::faults);
    let (left, result) = enter(&mut callee.store, position, fuel, arguments, results);
    let state = caller.data_mut();
    if let Some(before) = before {
        state.paging.except(paging::faults().saturating_sub(before));
    }
    std::mem::swap(&mut state.rack, &mut callee.store.data_mut().rack);
    state.rack.push(callee);
    caller.set_fuel(left)?;
    result
}

/// Runs an interface in its own store, on so much fuel; gives what is left, and how it ended.
fn enter(
    store: &mut Store<State>,
    position: usize,
    fuel: u64,
    arguments: &[Val],
    results: &mut [Val],
) -> (u64, Result<()>) {
    let Some(function) = store.data().interfaces.get(position).copied() else {
        return (fuel, Err(CalleeTrapped.into()));
    };
    let state = store.data_mut();
    let before = std::mem::replace(&mut state.phase, Phase::Called);
    state.paging.begin();
    let result = store.set_fuel(fuel).and_then(|()| function.call(&mut *store, arguments, results));
    let left = store.get_fuel().unwrap_or(0);
    let state = store.data_mut();
    state.phase = before;
    state.traps += u64::from(state.paging.end());
    let result = result.map_err(|error| {
        restore_stack(&mut *store);
        let out_of_fuel = error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel);
        if out_of_fuel || error.is::<CalleeTrapped>() {
            return error;
        }
        store.data_mut().traps += 1;
        CalleeTrapped.into()
    });
    (left, result)
}

/// Puts the shadow stack's pointer back where it was when the extension was loaded.
pub(super) fn restore_stack(mut store: impl AsContextMut<Data = State>) {
    if let Some((global, value)) = store.as_context().data().stack_pointer {
        // The global is a mutable i32 (it was read as one), so this cannot fail.
        let _ = global.set(&mut store, Val::I32(value));
    }
}
