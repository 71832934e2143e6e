//! Handlers reach only what may be stopped at any instruction (SPINE 3.3.2).
//!
//! The SDK's types say so already; here it is checked on the code itself, whoever made it. The call
//! graph is over-approximated: a call through a table may reach every function of its type that
//! the module ever uses as a value. That is the whole truth, because tables cannot change
//! (`validate` refuses what would) and nothing is imported but functions.
//!
//! Roots are all exports but `init`: a hostile module writes its own loop, and the runtime may be
//! given any of them to call.

use std::collections::{HashMap, VecDeque};

use spine_abi::interface::{EXPORT_INIT, Interface};
use wasmparser::{ExternalKind, FuncType};

use crate::linker::error::LinkError;
use crate::linker::module::{Body, Module};

/// Checks that no root reaches an interface that is not ephemeral.
///
/// `interfaces` are those of the imported functions, in order; what other extensions export (`None`) is
/// ephemeral, or the linker would not have let them export it.
///
/// # Errors
/// [`LinkError::NotEphemeralValue`]; [`LinkError::NotEphemeral`] with the shortest path.
pub(crate) fn check(
    module: &Module<'_>,
    interfaces: &[Option<&'static Interface>],
) -> Result<(), LinkError> {
    let forbidden = |function: u32| {
        let imported = interfaces.get(function as usize).copied().flatten();
        imported.is_some_and(|interface| !interface.ephemeral)
    };
    if let Some(value) = module.values.iter().find(|value| forbidden(**value)) {
        return Err(LinkError::NotEphemeralValue { interface: module.function_name(*value) });
    }

    let mut by_type = values_by_type(module);
    let mut caller: HashMap<u32, Option<u32>> = HashMap::new();
    let mut waiting = VecDeque::new();
    for root in roots(module) {
        if caller.insert(root, None).is_none() {
            waiting.push_back(root);
        }
    }
    while let Some(function) = waiting.pop_front() {
        if forbidden(function) {
            return Err(LinkError::NotEphemeral {
                interface: module.function_name(function),
                path: path(module, &caller, function),
            });
        }
        let Some(body) = body(module, function) else { continue };
        // Each type is followed once: whoever calls through it next finds nothing new.
        let types = body.indirect.iter().filter_map(|ty| module.types.get(*ty as usize));
        let indirect = types.filter_map(|ty| by_type.remove(ty)).flatten();
        for callee in body.calls.iter().copied().chain(indirect) {
            caller.entry(callee).or_insert_with(|| {
                waiting.push_back(callee);
                Some(function)
            });
        }
    }
    Ok(())
}

fn body<'m>(module: &'m Module<'_>, function: u32) -> Option<&'m Body> {
    module.bodies.get((function as usize).checked_sub(module.imported_functions())?)
}

fn roots(module: &Module<'_>) -> impl Iterator<Item = u32> {
    let functions = module.exports.iter().filter(|export| {
        matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact)
            && export.name != EXPORT_INIT
    });
    functions.map(|export| export.index)
}

/// The functions used as values, by their type: equal types may stand at several indices.
fn values_by_type<'m>(module: &'m Module<'_>) -> HashMap<&'m FuncType, Vec<u32>> {
    let mut by_type: HashMap<&FuncType, Vec<u32>> = HashMap::new();
    for value in &module.values {
        if let Some(ty) = module.function_type(*value) {
            by_type.entry(ty).or_default().push(*value);
        }
    }
    by_type
}

/// From a root to `function`, for people; a long one is cut in the middle.
fn path(module: &Module<'_>, caller: &HashMap<u32, Option<u32>>, function: u32) -> String {
    const SHOWN: usize = 16;
    let mut steps = vec![function];
    let mut at = function;
    while let Some(Some(above)) = caller.get(&at) {
        steps.push(*above);
        at = *above;
    }
    let mut names: Vec<_> = if steps.len() > SHOWN {
        let (near, far) = (&steps[..SHOWN / 2], &steps[steps.len() - SHOWN / 2..]);
        let name = |function: &u32| module.function_name(*function);
        near.iter().map(name).chain(["…".to_owned()]).chain(far.iter().map(name)).collect()
    } else {
        steps.iter().map(|function| module.function_name(*function)).collect()
    };
    names.reverse();
    names.join(" -> ")
}
