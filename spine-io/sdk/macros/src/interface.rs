//! Interfaces between extensions, as they are written: `fn count(flow: u64) -> u64;`.
//!
//! `exports:` of `extension!` and `import!` take the same form, so that an exporter's lines can be copied
//! to who imports them. Only numbers go across: other types are refused here, where they are written.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, Pat, ReturnType, Token, TraitItemFn, Type, Visibility, braced};

use crate::handler::plain;

const FORM: &str = "an interface is `fn name(parameter: u64) -> u64;`, of u32, i32, u64 and i64";
const PARAMETERS: usize = 8;

/// One interface.
pub(crate) struct Interface {
    documentation: Vec<Attribute>,
    name: Ident,
    parameters: Vec<(Ident, Ident)>,
    result: Option<Ident>,
}

impl Parse for Interface {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let function: TraitItemFn =
            input.parse().map_err(|error| Error::new(error.span(), FORM))?;
        let signature = &function.sig;
        plain(signature, FORM)?;
        if function.default.is_some() || signature.inputs.len() > PARAMETERS {
            return Err(Error::new_spanned(signature, format!("{FORM}; at most {PARAMETERS}")));
        }
        let parameter = |argument: &FnArg| match argument {
            FnArg::Typed(typed) => match &*typed.pat {
                Pat::Ident(name) => Ok((name.ident.clone(), number(&typed.ty)?)),
                other => Err(Error::new_spanned(other, FORM)),
            },
            FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, FORM)),
        };
        Ok(Self {
            parameters: signature.inputs.iter().map(parameter).collect::<syn::Result<_>>()?,
            result: match &signature.output {
                ReturnType::Default => None,
                ReturnType::Type(_, ty) => Some(number(ty)?),
            },
            name: signature.ident.clone(),
            documentation: function.attrs,
        })
    }
}

/// One of the types that go across.
fn number(ty: &Type) -> syn::Result<Ident> {
    let Type::Path(path) = ty else { return Err(Error::new_spanned(ty, FORM)) };
    let known = |name: &&Ident| ["u32", "i32", "u64", "i64"].iter().any(|known| *name == known);
    path.path.get_ident().filter(known).cloned().ok_or_else(|| Error::new_spanned(ty, FORM))
}

/// A domain: its name, and its interfaces in braces.
pub(crate) struct Domain {
    pub(crate) name: Ident,
    interfaces: Vec<Interface>,
}

impl Parse for Domain {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        let content;
        braced!(content in input);
        let mut interfaces = Vec::new();
        while !content.is_empty() {
            interfaces.push(content.parse()?);
        }
        if interfaces.is_empty() {
            return Err(Error::new_spanned(name, "a domain has at least one interface"));
        }
        Ok(Self { name, interfaces })
    }
}

impl Domain {
    /// The bytes of its declaration, as an expression.
    pub(crate) fn declaration(&self) -> TokenStream {
        let name = self.name.to_string();
        let count = self.interfaces.len();
        let interfaces = self.interfaces.iter().map(|interface| {
            let name = interface.name.to_string();
            let types = interface.parameters.iter().map(|(_, ty)| value(ty));
            let result = match &interface.result {
                Some(ty) => {
                    let value = value(ty);
                    quote!(Some(#value))
                }
                None => quote!(None),
            };
            quote! {
                ::spine_sdk::declaration::InterfaceDeclaration {
                    name: #name,
                    signature: ::spine_sdk::declaration::Signature::new(&[#(#types),*], #result),
                }
            }
        });
        quote! {
            &::spine_sdk::declaration::build::<{ ::spine_sdk::declaration::length(#count) }>(
                #name,
                &[#(#interfaces),*],
            )
        }
    }

    /// Functions with these types that call the exporter's own, of the same names.
    pub(crate) fn entries(&self) -> TokenStream {
        let entries = self.interfaces.iter().map(|interface| {
            let (signature, name) = (interface.signature(), &interface.name);
            let arguments = interface.arguments();
            quote! {
                /// One interface, as others call it.
                #[inline]
                pub #signature {
                    super::super::#name(#(#arguments),*)
                }
            }
        });
        quote!(#(#entries)*)
    }

    /// The functions that the module exports, for the binary that may have unsafe attributes.
    pub(crate) fn exports(&self) -> TokenStream {
        let exports = self.interfaces.iter().map(|interface| {
            let symbol = format!("{}.{}", self.name, interface.name);
            let (signature, name) = (interface.signature(), &interface.name);
            let arguments = interface.arguments();
            quote! {
                // The symbol has the domain's name in it: no other one is called that.
                #[unsafe(export_name = #symbol)]
                extern "C" #signature {
                    $crate::extension::interfaces::#name(#(#arguments),*)
                }
            }
        });
        quote!(#(#exports)*)
    }
}

impl Interface {
    fn signature(&self) -> TokenStream {
        let Self { name, parameters, result, .. } = self;
        let parameters = parameters.iter().map(|(name, ty)| quote!(#name: #ty));
        let result = result.as_ref().map(|ty| quote!(-> #ty));
        quote!(fn #name(#(#parameters),*) #result)
    }

    fn arguments(&self) -> impl Iterator<Item = &Ident> {
        self.parameters.iter().map(|(name, _)| name)
    }
}

fn value(ty: &Ident) -> TokenStream {
    let wide = ty == "u64" || ty == "i64";
    let name = if wide { format_ident!("I64") } else { format_ident!("I32") };
    quote!(::spine_sdk::Value::#name)
}

/// `import!`: what is written, with a visibility and `mod` before it.
struct Import {
    documentation: Vec<Attribute>,
    visibility: Visibility,
    domain: Domain,
}

impl Parse for Import {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let documentation = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![mod]>()?;
        Ok(Self { documentation, visibility, domain: input.parse()? })
    }
}

pub(crate) fn import(input: TokenStream) -> syn::Result<TokenStream> {
    let Import { documentation, visibility, domain } = syn::parse2(input)?;
    let (name, text) = (&domain.name, domain.name.to_string());
    let signatures = domain.interfaces.iter().map(Interface::signature);
    let functions = domain.interfaces.iter().map(|interface| {
        let (about, signature) = (&interface.documentation, interface.signature());
        let (symbol, arguments) = (&interface.name, interface.arguments().collect::<Vec<_>>());
        let called = symbol.to_string();
        let result = match &interface.result {
            Some(ty) => quote!(<#ty as ::spine_sdk::Number>::from_bits(answer)),
            None => quote!({
                let _ = answer;
            }),
        };
        quote! {
            #(#about)*
            #[inline]
            pub #signature {
                #[cfg(target_arch = "wasm32")]
                {
                    exported::#symbol(#(#arguments),*)
                }
                #[cfg(not(target_arch = "wasm32"))]
                {
                    let arguments = [#(::spine_sdk::Number::to_bits(#arguments)),*];
                    let answer = ::spine_sdk::testing::call(#text, #called, &arguments);
                    #result
                }
            }
        }
    });
    let documentation = documentation.iter().map(|attribute| attribute.to_token_stream());
    Ok(quote! {
        #(#documentation)*
        #visibility mod #name {
            /// The functions as they are imported. They take and give numbers, and are called in no other
            /// way than others: nothing that is safe here can make one of them unsound.
            #[cfg(target_arch = "wasm32")]
            mod exported {
                #[link(wasm_import_module = #text)]
                unsafe extern "C" {
                    #(pub(super) safe #signatures;)*
                }
            }

            #(#functions)*
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_refused_where_it_is_written() {
        for item in [
            "mod flow { fn count(flow: u64) -> usize; }",
            "mod flow { fn count(flow: &u64); }",
            "mod flow { fn count(flow: f64); }",
            "mod flow { fn count(&self); }",
            "mod flow { fn count() {} }",
            "mod flow { fn count<T>(); }",
            "mod flow { fn c(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32); }",
            "mod flow { struct Flow; }",
        ] {
            let text = import(item.parse().unwrap()).unwrap_err().to_string();
            assert!(text.contains(FORM), "{item}: {text}");
        }
        assert!(import("mod flow { }".parse().unwrap()).is_err());
        assert!(import("pub(crate) mod flow { /// Why.\n fn reset(); }".parse().unwrap()).is_ok());
    }

    #[test]
    fn an_export_is_named_after_domain_and_interface() {
        let domain: Domain =
            syn::parse_str("flow { fn count(key: u64, by: u32) -> i64; }").unwrap();
        let out = domain.exports().to_string();
        assert!(out.contains("\"flow.count\""), "{out}");
        let declaration = domain.declaration().to_string().replace(' ', "");
        let types =
            "new(&[::spine_sdk::Value::I64,::spine_sdk::Value::I32],Some(::spine_sdk::Value::I64)";
        assert!(declaration.contains(types), "{declaration}");
    }
}
