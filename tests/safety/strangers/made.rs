//! Random modules that pass the linker: everything an extension may say, in an order that makes no sense.

use std::fmt::Write as _;

use fastrand::Rng;

/// What a module may be granted besides the core, and the imports that come with it.
const DOMAINS: [(&str, &str); 6] = [
    (
        "buffer",
        r#"(import "spine:buffer" "read" (func $read (param i64 i32 i32 i32) (result i32)))
           (import "spine:buffer" "write" (func $write (param i64 i32 i32 i32) (result i32)))
           (import "spine:buffer" "release" (func $release (param i64) (result i32)))"#,
    ),
    ("host", r#"(import "spine:host" "send" (func $host (param i32) (result i32)))"#),
    ("peer", r#"(import "spine:peer" "send" (func $peer (param i32 i32) (result i32)))"#),
    (
        "timer",
        r#"(import "spine:timer" "arm" (func $arm (param i32 i32 i64) (result i32)))
           (import "spine:timer" "cancel" (func $cancel (param i32) (result i32)))"#,
    ),
    ("net", ""),
    ("kernel", ""),
];

/// The text of a module, its header lines included.
pub(super) fn module(rng: &mut Rng) -> String {
    let granted: Vec<usize> = (0..DOMAINS.len()).filter(|_| rng.bool()).collect();
    let names: Vec<&str> = granted.iter().map(|place| DOMAINS[*place].0).collect();
    let imports: String = granted.iter().map(|place| DOMAINS[*place].1).collect();
    let mut maker = Maker { rng, granted: &names, text: String::new() };
    for _ in 0..2 + maker.rng.usize(..8) {
        maker.statement(3);
    }
    let body = std::mem::take(&mut maker.text);
    for _ in 0..1 + maker.rng.usize(..4) {
        maker.statement(2);
    }
    let helper = std::mem::take(&mut maker.text);
    let pages = 1 << maker.rng.u32(..9);
    let domains = names.join(", ");
    format!(
        r#";; domains: {domains}
        (module
          (import "spine:core" "next" (func $next (param i64) (result i64)))
          {imports}
          (memory (export "memory") {pages})
          (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 8192))
          (func $helper (param $slot i32) (local $a i32) (local $b i64) (local $verdict i64) {helper})
          (func $run (export "run") (local $slot i32) (local $a i32) (local $b i64) (local $verdict i64)
            (loop $again
              (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
              (if (i32.eqz (local.get $slot)) (then (return)))
              {body}
              (br $again))))"#
    )
}

struct Maker<'a> {
    rng: &'a mut Rng,
    granted: &'a [&'a str],
    text: String,
}

impl Maker<'_> {
    fn may(&self, domain: &str) -> bool {
        self.granted.contains(&domain)
    }

    fn put(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    fn statement(&mut self, depth: u32) {
        let kinds = if depth == 0 { 6 } else { 16 };
        match self.rng.u32(..kinds) {
            0 => {
                let text = format!("(local.set $a {})", self.number(2));
                self.put(&text);
            }
            1 => {
                let text = format!("(local.set $b {})", self.wide(2));
                self.put(&text);
            }
            2 => {
                let text = format!("(i32.store {} {})", self.address(), self.number(2));
                self.put(&text);
            }
            3 | 4 => {
                let text = format!("(local.set $verdict (i64.const {}))", self.verdict());
                self.put(&text);
            }
            5 => {
                let text = format!("(local.set $verdict {})", self.wide(1));
                self.put(&text);
            }
            6 | 7 => self.turns(depth),
            8 | 9 => {
                let condition = self.number(2);
                self.put(&format!("(if {condition} (then"));
                self.statement(depth - 1);
                self.put("))");
            }
            10 => {
                let text = format!(
                    "(memory.fill {} (i32.const {}) {})",
                    self.address(),
                    self.rng.u8(..),
                    self.length()
                );
                self.put(&text);
            }
            11 => {
                let (to, from, length) = (self.address(), self.address(), self.length());
                self.put(&format!("(memory.copy {to} {from} {length})"));
            }
            12 => self.call(),
            13 => self.call(),
            14 if self.rng.u32(..4) == 0 => self.put("(call $helper (local.get $slot))"),
            15 if self.rng.u32(..6) == 0 => {
                let text = if self.rng.bool() { "(unreachable)" } else { "(return)" };
                self.put(text);
            }
            _ => self.statement(depth - 1),
        }
    }

    /// A loop: of few turns, of many, or without end.
    fn turns(&mut self, depth: u32) {
        let label = format!("$l{}", self.text.len());
        let turns = 1 << self.rng.u32(..12);
        self.put(&format!("(local.set $a (i32.const {turns})) (loop {label}"));
        self.statement(depth - 1);
        if self.rng.u32(..8) == 0 {
            self.put(&format!("(br {label}))"));
        } else {
            self.put(&format!(
                "(local.set $a (i32.sub (local.get $a) (i32.const 1))) (br_if {label} (i32.gt_s (local.get $a) (i32.const 0))))"
            ));
        }
    }

    fn call(&mut self) {
        let (a, b, c) = (self.number(1), self.number(1), self.number(1));
        let (wide, address) = (self.wide(1), self.address());
        let domain = self.rng.usize(..4);
        let text = match domain {
            0 if self.may("buffer") => {
                let name = ["read", "write"][self.rng.usize(..2)];
                match self.rng.bool() {
                    true => format!("(drop (call $release {wide}))"),
                    false => format!("(drop (call ${name} {wide} {a} {b} {c}))"),
                }
            }
            1 if self.may("host") => format!("(drop (call $host {address}))"),
            2 if self.may("peer") => format!("(drop (call $peer (i32.const 1) {address}))"),
            3 if self.may("timer") => format!("(drop (call $arm {a} {b} {wide}))"),
            _ => return,
        };
        self.put(&text);
    }

    /// An address: in the slot, in the module's page, or anywhere.
    fn address(&mut self) -> String {
        let number = self.number(1);
        match self.rng.u32(..8) {
            0..4 => format!("(i32.and {number} (i32.const 0xfffc))"),
            4..7 => format!("(i32.add (local.get $slot) (i32.and {number} (i32.const 0x7f)))"),
            _ => number,
        }
    }

    fn length(&mut self) -> String {
        let number = self.number(1);
        match self.rng.u32(..4) {
            0 => number,
            _ => format!("(i32.and {number} (i32.const 0x3ff))"),
        }
    }

    fn number(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.rng.u32(..4) {
                0 => format!("(i32.const {})", self.rng.i32(..)),
                1 => format!("(i32.const {})", self.rng.i32(..256)),
                2 => "(local.get $a)".to_owned(),
                _ => "(i32.load (local.get $slot))".to_owned(),
            };
        }
        const OPERATORS: [&str; 9] =
            ["add", "sub", "mul", "xor", "and", "shl", "shr_u", "div_u", "rem_s"];
        let operator = OPERATORS[self.rng.usize(..OPERATORS.len())];
        let (left, right) = (self.number(depth - 1), self.number(depth - 1));
        match self.rng.u32(..4) {
            0 => format!("(i32.wrap_i64 {})", self.wide(depth - 1)),
            _ => format!("(i32.{operator} {left} {right})"),
        }
    }

    fn wide(&mut self, depth: u32) -> String {
        match self.rng.u32(..4) {
            0 => format!("(i64.const {})", self.rng.i64(..)),
            1 => "(local.get $b)".to_owned(),
            2 => "(i64.load offset=8 (local.get $slot))".to_owned(),
            _ if depth == 0 => "(i64.const 5)".to_owned(),
            _ => format!("(i64.mul {} {})", self.wide(depth - 1), self.wide(depth - 1)),
        }
    }

    /// A verdict, most of which may be given.
    fn verdict(&mut self) -> u64 {
        let kind = self.rng.u64(..10);
        let (reason, target) = (self.rng.u64(..90) << 8, self.rng.u64(..4) << 16);
        match self.rng.u32(..4) {
            0 => kind | reason | target,
            1 => kind | target,
            2 => 0x10002,
            _ => kind,
        }
    }
}
