//! `extension!`: the module that ties an extension together.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, LitStr, Path, Token, bracketed};

use crate::handler::declaration_of;
use crate::interface::Domain;

const USAGE: &str = "write `name: \"...\", domains: [...], regions: 0, handlers: [...], exports: domain { ... }, init: init`";

#[derive(Default)]
struct Parts {
    name: Option<LitStr>,
    domains: Vec<Ident>,
    regions: Option<Expr>,
    handlers: Vec<Path>,
    exports: Option<Domain>,
    init: Option<Path>,
}

impl Parse for Parts {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut parts = Self::default();
        let mut seen = Vec::new();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            if seen.contains(&key) {
                return Err(Error::new(key.span(), "given twice"));
            }
            input.parse::<Token![:]>()?;
            match key.to_string().as_str() {
                "name" => parts.name = Some(input.parse()?),
                "domains" => parts.domains = list(input)?,
                "regions" => parts.regions = Some(input.parse()?),
                "handlers" => parts.handlers = list(input)?,
                "exports" => parts.exports = Some(input.parse()?),
                "init" => parts.init = Some(input.parse()?),
                _ => return Err(Error::new(key.span(), USAGE)),
            }
            seen.push(key);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(parts)
    }
}

fn list<Item: Parse>(input: ParseStream<'_>) -> syn::Result<Vec<Item>> {
    let content;
    bracketed!(content in input);
    Ok(Punctuated::<Item, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

pub(crate) fn expand(input: TokenStream) -> syn::Result<TokenStream> {
    let Parts { name, domains, regions, handlers, exports, init } = syn::parse2(input)?;
    let here = proc_macro2::Span::call_site();
    let name = name.ok_or_else(|| Error::new(here, format!("no name: {USAGE}")))?;
    if handlers.is_empty() {
        return Err(Error::new(here, format!("no handlers: {USAGE}")));
    }
    if name.value().is_empty() || name.value().len() > 32 {
        return Err(Error::new_spanned(name, "a name has 1 to 32 bytes"));
    }
    let regions = regions.unwrap_or_else(|| syn::parse_quote!(0));
    let functions = handlers.iter().map(from_module).collect::<syn::Result<Vec<_>>>()?;
    let declarations = functions.iter().map(declaration_path).collect::<syn::Result<Vec<_>>>()?;
    let numbers: Vec<_> = (0..functions.len()).map(|i| format_ident!("NUMBER_{i}")).collect();
    let initialise = match &init {
        Some(path) => {
            let path = from_module(path)?;
            quote! { #path(setup); }
        }
        None => quote! { let _ = setup; },
    };
    let (declaration, entries, symbols) = match &exports {
        Some(domain) => (domain.declaration(), domain.entries(), domain.exports()),
        None => (quote!(&[]), quote!(), quote!()),
    };
    Ok(quote! {
        /// The interfaces that the module exports, for `spine_sdk::export!`.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! __spine_interfaces {
            () => { #symbols };
        }

        /// The extension as a whole: its manifest, and how the runtime enters it.
        pub mod extension {
            use ::spine_sdk::{
                Context, Domain, Domains, HandlerDeclaration, Message, PackedVerdict, Verdict,
            };

            const HANDLERS: &[HandlerDeclaration] = &[#(#declarations),*];
            const REGIONS: u16 = #regions;
            const EXPORTS: &[u8] = #declaration;
            const PREFIX: usize = ::spine_sdk::check(HANDLERS, REGIONS);

            /// Bytes from one slot to the next.
            pub const STRIDE: usize = ::spine_sdk::manifest::slot_stride(PREFIX);

            /// Bytes of the manifest.
            pub const MANIFEST_BYTES: usize = ::spine_sdk::manifest::FIXED_BYTES
                + HANDLERS.len() * ::spine_sdk::manifest::HANDLER_BYTES
                + EXPORTS.len();

            /// The manifest.
            pub const MANIFEST: [u8; MANIFEST_BYTES] = ::spine_sdk::manifest::build_exporting(
                #name,
                Domains::CORE #(.with(Domain::#domains))*,
                REGIONS,
                HANDLERS,
                EXPORTS,
            );

            /// Invokes the handler whose number the message in `slot` carries.
            #[inline]
            pub fn dispatch(context: Context, slot: &mut [u8; STRIDE]) -> PackedVerdict {
                #(const #numbers: u16 = #declarations.number.0;)*
                match ::spine_sdk::handler_number(slot) {
                    #(#numbers => {
                        #functions(context, &mut Message::in_slot(slot, #declarations.prefix)).into()
                    })*
                    _ => Verdict::Drop(::spine_sdk::Reason::Unhandled).into(),
                }
            }

            /// Runs the initialisation; once, before any handler.
            pub fn initialise(setup: &mut ::spine_sdk::Init) {
                #initialise
            }

            /// What other extensions call.
            #[doc(hidden)]
            pub mod interfaces {
                #entries
            }

            /// Works through a burst.
            #[cfg(target_arch = "wasm32")]
            pub fn run() {
                ::spine_sdk::run(dispatch);
            }
        }
    })
}

/// The same path as it reads inside the generated module.
fn from_module(path: &Path) -> syn::Result<Path> {
    let absolute = path.leading_colon.is_some()
        || path.segments.first().is_some_and(|first| first.ident == "crate");
    if path.segments.first().is_some_and(|first| first.ident == "super" || first.ident == "self") {
        return Err(Error::new_spanned(path, "start the path with a module's name or `crate`"));
    }
    Ok(if absolute { path.clone() } else { syn::parse_quote!(super::#path) })
}

fn declaration_path(function: &Path) -> syn::Result<Path> {
    let mut path = function.clone();
    let last = path.segments.last_mut();
    let last = last.ok_or_else(|| Error::new_spanned(function, "names no function"))?;
    last.ident = declaration_of(&last.ident);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        for (input, expected) in [
            ("handlers: [a]", "no name"),
            ("name: \"x\"", "no handlers"),
            ("name: \"x\", name: \"y\"", "given twice"),
            ("name: \"x\", colour: 3", USAGE),
            ("name: \"\", handlers: [a]", "1 to 32 bytes"),
            ("name: \"x\", exports: d { fn f(x: &u32); }", "an interface is"),
            ("name: \"x\", handlers: [self::a]", "start the path"),
        ] {
            let text = expand(input.parse().unwrap()).unwrap_err().to_string();
            assert!(text.contains(expected), "{input}: {text}");
        }
    }

    #[test]
    fn paths_are_read_from_inside_the_module() {
        let input = "name: \"x\", domains: [Net], handlers: [a, m::b, crate::c], init: m::start,";
        let out = expand(input.parse().unwrap()).unwrap().to_string().replace(' ', "");
        for part in [
            "super::__HANDLER_A",
            "super::m::__HANDLER_B",
            "crate::__HANDLER_C",
            "super::m::start(setup)",
            ".with(Domain::Net)",
        ] {
            assert!(out.contains(part), "{part} in {out}");
        }
    }
}
