//! The calls an extension may make: the interfaces of `spine_abi::interface`, bound.
//!
//! Every number an extension passes is an allegation: addresses are checked against its own memory,
//! references against what it holds. An answer is a result or a negative [`ErrorCode`]; only a lack
//! of fuel stops the caller. The domains were checked by the linker; an import that is not in the
//! image's domains or links is not bound, so instantiation fails.

use spine_abi::image::Image;
use spine_abi::interface::{
    ADD_HANDLER, ARM, CANCEL, INTERFACES, Interface, MODULE_PREFIX, NEXT, READ, REGION, RELEASE,
    SEND_HOST, SEND_PEER, WRITE,
};
use spine_abi::limits::MESSAGE_BYTES;
use spine_abi::{BufferRef, Endpoint, ErrorCode, HandlerNumber, Message};
use wasmtime::{Caller, Engine, Linker, Result, Trap};

use super::link;
use super::state::{OUTBOX, Phase, State};

/// A linker with every interface of the image's domains and links in it.
pub(super) fn bind(engine: &Engine, image: &Image<'_>) -> Result<Linker<State>> {
    let domains = image.header.domains;
    let mut linker = Linker::new(engine);
    for interface in INTERFACES.iter().filter(|i| domains.contains(i.domain)) {
        bind_one(&mut linker, interface)?;
    }
    for (index, link) in image.links.iter().enumerate() {
        link::bind(&mut linker, engine, index, &link)?;
    }
    Ok(linker)
}

fn bind_one(linker: &mut Linker<State>, interface: &Interface) -> Result<()> {
    let module = format!("{MODULE_PREFIX}{}", interface.domain.name());
    let name = interface.name;
    if *interface == NEXT {
        linker.func_wrap(&module, name, next)?;
    } else if *interface == ADD_HANDLER {
        linker.func_wrap(&module, name, add_handler)?;
    } else if *interface == REGION {
        linker.func_wrap(&module, name, region)?;
    } else if *interface == READ {
        linker.func_wrap(&module, name, read)?;
    } else if *interface == WRITE {
        linker.func_wrap(&module, name, write)?;
    } else if *interface == RELEASE {
        linker.func_wrap(&module, name, release)?;
    } else if *interface == SEND_HOST {
        linker.func_wrap(&module, name, send_host)?;
    } else if *interface == SEND_PEER {
        linker.func_wrap(&module, name, send_peer)?;
    } else if *interface == ARM {
        linker.func_wrap(&module, name, arm)?;
    } else if *interface == CANCEL {
        linker.func_wrap(&module, name, cancel)?;
    }
    Ok(())
}

/// Takes the cost of a call, and of the bytes it moves, from the caller's fuel.
fn charge(caller: &mut Caller<'_, State>, interface: &Interface, bytes: u32) -> Result<()> {
    let cost = interface.cost + u64::from(bytes / 16);
    match caller.get_fuel()?.checked_sub(cost) {
        Some(left) => caller.set_fuel(left),
        None => Err(Trap::OutOfFuel.into()),
    }
}

fn answer(result: core::result::Result<u32, ErrorCode>) -> i32 {
    match result {
        Ok(value) => i32::try_from(value).unwrap_or(i32::MAX),
        Err(error) => error.to_number(),
    }
}

fn next(mut caller: Caller<'_, State>, verdict: i64) -> Result<i64> {
    let left = caller.get_fuel()?;
    if left == 0 {
        // Used up since the last look at it. A new message's fuel would forgive that.
        return Err(Trap::OutOfFuel.into());
    }
    let state = caller.data_mut();
    if state.phase != Phase::Run {
        return Ok(0);
    }
    let fuel = state.fuel;
    let Some(answer) = state.next(verdict.cast_unsigned(), left) else { return Ok(0) };
    caller.set_fuel(fuel)?;
    Ok(answer.cast_signed())
}

fn add_handler(mut caller: Caller<'_, State>, number: i32, context: i32) -> i32 {
    let state = caller.data_mut();
    if state.phase != Phase::Init {
        return ErrorCode::NotNow.to_number();
    }
    let known = state.handlers.iter_mut().find(|handler| i32::from(handler.number) == number);
    answer(known.ok_or(ErrorCode::BadHandler).map(|handler| {
        handler.context = context.cast_unsigned();
        0
    }))
}

fn region(mut caller: Caller<'_, State>, index: i32) -> i64 {
    let state = caller.data_mut();
    let known = usize::try_from(index).ok().and_then(|index| state.regions.get(index));
    match known {
        Some((address, length)) if state.phase == Phase::Init => {
            ((u64::from(*length) << 32) | u64::from(*address)).cast_signed()
        }
        _ => 0,
    }
}

fn read(
    mut caller: Caller<'_, State>,
    buffer: i64,
    offset: i32,
    into: i32,
    length: i32,
) -> Result<i32> {
    charge(&mut caller, &READ, length.cast_unsigned())?;
    let reference = BufferRef::from_bits(buffer.cast_unsigned());
    let place = (offset.cast_unsigned(), into.cast_unsigned(), length.cast_unsigned());
    Ok(answer(caller.data_mut().read(reference, place)))
}

fn write(
    mut caller: Caller<'_, State>,
    buffer: i64,
    offset: i32,
    from: i32,
    length: i32,
) -> Result<i32> {
    charge(&mut caller, &WRITE, length.cast_unsigned())?;
    let reference = BufferRef::from_bits(buffer.cast_unsigned());
    let place = (offset.cast_unsigned(), from.cast_unsigned(), length.cast_unsigned());
    Ok(answer(caller.data_mut().write(reference, place)))
}

fn release(mut caller: Caller<'_, State>, buffer: i64) -> Result<i32> {
    charge(&mut caller, &RELEASE, 0)?;
    let reference = BufferRef::from_bits(buffer.cast_unsigned());
    let state = caller.data_mut();
    Ok(answer(state.release(reference).map(|()| 0)))
}

fn arm(mut caller: Caller<'_, State>, after: i32, handler: i32, token: i64) -> Result<i32> {
    charge(&mut caller, &ARM, 0)?;
    let State { handlers, timers, .. } = caller.data_mut();
    let known = handlers.iter().find(|known| i32::from(known.number) == handler);
    let known = known.ok_or(ErrorCode::BadHandler);
    Ok(answer(known.and_then(|known| {
        timers.arm(after.cast_unsigned(), HandlerNumber(known.number), token.cast_unsigned())
    })))
}

fn cancel(mut caller: Caller<'_, State>, timer: i32) -> Result<i32> {
    charge(&mut caller, &CANCEL, 0)?;
    Ok(answer(caller.data_mut().timers.cancel(timer.cast_unsigned()).map(|()| 0)))
}

/// The small message at `address`, with the runtime's word on who sent it.
fn outgoing(
    state: &mut State,
    address: i32,
    source: Endpoint,
) -> core::result::Result<Message, ErrorCode> {
    if state.phase == Phase::Init {
        return Err(ErrorCode::NotNow);
    }
    if state.to_host.len() + state.to_peer.len() >= OUTBOX {
        state.refused += 1;
        return Err(ErrorCode::Full);
    }
    let mut bytes = [0; MESSAGE_BYTES];
    let own = state.own.as_ref().ok_or(ErrorCode::NotNow)?;
    own.copy_out(address.cast_unsigned(), &mut bytes)?;
    let mut message = Message::parse(&bytes)?;
    if message.header().kind != spine_abi::Kind::Small {
        return Err(ErrorCode::BadMessage);
    }
    message.set_source(source);
    Ok(message)
}

fn send_host(mut caller: Caller<'_, State>, address: i32) -> Result<i32> {
    charge(&mut caller, &SEND_HOST, 0)?;
    let state = caller.data_mut();
    let source = Endpoint::Extension(state.number);
    Ok(answer(outgoing(state, address, source).map(|message| {
        state.to_host.push(message);
        0
    })))
}

fn send_peer(mut caller: Caller<'_, State>, peer: i32, address: i32) -> Result<i32> {
    charge(&mut caller, &SEND_PEER, 0)?;
    let state = caller.data_mut();
    let source = Endpoint::Peer(state.adapter);
    let Ok(peer) = u16::try_from(peer) else { return Ok(ErrorCode::NoEndpoint.to_number()) };
    Ok(answer(outgoing(state, address, source).map(|message| {
        state.to_peer.push((peer, message));
        0
    })))
}
