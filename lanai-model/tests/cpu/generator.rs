//! Random C without undefined behaviour, the same for the same seed, whose results do not depend on byte order.
//!
//! Each function takes three unsigned ints and returns an unsigned long long that depends on everything it computed.

use std::fmt::Write as _;

use crate::tools::Random;

/// What the functions share: variables of every width, and functions to call through pointers.
const PRELUDE: &str = "
typedef unsigned char u8; typedef signed char s8; typedef unsigned short u16; typedef short s16;
typedef unsigned int u32; typedef int s32; typedef unsigned long long u64; typedef long long s64;
struct mixed { u8 a; s16 b; u32 c; s8 d; u64 e; u16 f[3]; };
u8 gb[16]; s8 gc[16]; u16 gh[16]; s16 gs[16]; u32 gw[16]; u64 gd[8]; struct mixed gm[4];
u32 plus(u32 a, u32 b) { return a + b; }
u32 less(u32 a, u32 b) { return (s32)a < (s32)b ? a : ~b; }
u32 turn(u32 a, u32 b) { return a << (b & 31) | a >> (-b & 31); }
u32 many(u32 a, u32 b, u32 c, u32 d, u32 e, u32 f) { return a - b * 3 + (c ^ d) + (e >> 3) - f; }
u32 deep(u32 a, u32 b) { return a < 2 ? b : deep(a >> 2, b + a) ^ a; }
u32 (*const pairs[4])(u32, u32) = { plus, less, turn, deep };
";

/// A file of `functions` functions `f0`, `f1`, ...
pub(crate) fn source(seed: u64, functions: u32) -> String {
    let mut text = PRELUDE.to_owned();
    for number in 0..functions {
        let mut function = Function {
            random: Random(seed << 32 | u64::from(number)),
            text: String::new(),
            loops: 0,
        };
        function.write(number);
        text += &function.text;
    }
    text
}

struct Function {
    random: Random,
    text: String,
    loops: u32,
}

impl Function {
    fn write(&mut self, number: u32) {
        let _ = writeln!(self.text, "u64 f{number}(u32 a, u32 b, u32 c) {{");
        self.text += " u32 x = a ^ c, y = b + 7, t = 0; s32 p = (s32)a, q = (s32)(b - c);\n";
        self.text +=
            " u64 v = ((u64)a << 32) | b, w = (u64)c * 0x9e3779b9u; s64 m = (s64)(v ^ (w << 9));\n";
        self.text += " u8 lb[8]; s16 lh[8]; u32 lw[8]; s64 ld[4]; u32 i;\n";
        self.text += " for (i = 0; i < 8; i++) { lb[i] = (u8)(a >> i); lh[i] = (s16)(b - i * 77); lw[i] = c * i; ld[i & 3] = (s64)v + i; }\n";
        for _ in 0..4 + self.random.below(5) {
            self.statement(2);
        }
        self.text += " v += x + ((u64)y << 17) + t; w ^= (u64)m + (u32)p * 31u + (u64)(s64)q;\n";
        self.text += " for (i = 0; i < 8; i++) v = v * 31 + lb[i] + (u64)(s64)lh[i] + lw[i] + (u64)ld[i & 3];\n";
        self.text += " return v ^ (w << 1 | w >> 63);\n}\n";
    }

    fn statement(&mut self, depth: u32) {
        let kinds = if depth == 0 { 8 } else { 12 };
        let text = match self.random.below(kinds) {
            0 => format!("{} = {};", self.pick(&["x", "y", "t"]), self.word(3)),
            1 => format!("{} = {};", self.pick(&["p", "q"]), self.signed(3)),
            2 => format!("{} = {};", self.pick(&["v", "w"]), self.wide(2)),
            3 => format!("m = {};", self.signed_wide(2)),
            4 => {
                let place = self.place();
                format!("{place} = {};", self.word(2))
            }
            5 => {
                let place = self.place();
                let op = self.pick(&["+", "-", "^", "|", "&"]);
                format!("{place} {op}= {};", self.word(2))
            }
            6 => format!("t += pairs[({}) & 3]({}, {});", self.word(1), self.word(1), self.word(1)),
            7 => {
                let [a, b, c, d] = [0; 4].map(|_| self.word(1));
                format!("t ^= many({a}, {b}, {c}, {d}, x, (u32)q);")
            }
            8 => {
                let condition = self.condition();
                return self.block(&format!("if ({condition})"), depth, true);
            }
            9 | 10 => {
                self.loops += 1;
                let (name, count) = (format!("n{}", self.loops), 1 + self.random.below(6));
                return self.block(
                    &format!("for (u32 {name} = 0; {name} < {count}; {name}++)"),
                    depth,
                    false,
                );
            }
            _ => return self.switch(depth),
        };
        let _ = writeln!(self.text, " {text}");
    }

    fn block(&mut self, head: &str, depth: u32, otherwise: bool) {
        let _ = writeln!(self.text, " {head} {{");
        self.statement(depth - 1);
        self.statement(depth - 1);
        if otherwise && self.random.below(2) == 0 {
            self.text += " } else {\n";
            self.statement(depth - 1);
        }
        self.text += " }\n";
    }

    fn switch(&mut self, depth: u32) {
        let value = self.word(2);
        let cases = 3 + self.random.below(7);
        let _ = writeln!(self.text, " switch (({value}) % {}) {{", cases + 1);
        for case in 0..cases {
            let _ = writeln!(self.text, " case {case}:");
            self.statement(depth - 1);
            if self.random.below(4) != 0 {
                self.text += " break;\n";
            }
        }
        self.text += " default: t++; }\n";
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.random.word() as usize % of.len()]
    }

    /// Something to store to, of any width.
    fn place(&mut self) -> String {
        let index = self.word(1);
        match self.random.below(12) {
            0 => format!("lb[({index}) & 7]"),
            1 => format!("lh[({index}) & 7]"),
            2 => format!("lw[({index}) & 7]"),
            3 => format!("ld[({index}) & 3]"),
            4 => format!("gb[({index}) & 15]"),
            5 => format!("gc[({index}) & 15]"),
            6 => format!("gh[({index}) & 15]"),
            7 => format!("gs[({index}) & 15]"),
            8 => format!("gw[({index}) & 15]"),
            9 => format!("gd[({index}) & 7]"),
            10 => format!("gm[({index}) & 3].{}", self.pick(&["a", "b", "c", "d", "e"])),
            _ => format!("gm[1].f[({index}) % 3]"),
        }
    }

    fn constant(&mut self) -> String {
        let value = match self.random.below(5) {
            0 => self.random.below(32),
            1 => self.random.below(0x1_0000),
            2 => self.random.below(0x1_0000) << 16,
            3 => *self.random.pick(&[0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff, 0x1f_ffff]),
            _ => self.random.word(),
        };
        format!("{value:#x}u")
    }

    fn condition(&mut self) -> String {
        let op = self.pick(&["<", "<=", ">", ">=", "==", "!="]);
        match self.random.below(4) {
            0 => format!("{} {op} {}", self.word(2), self.word(1)),
            1 => format!("{} {op} {}", self.signed(2), self.signed(1)),
            2 => format!("{} {op} {}", self.wide(1), self.wide(1)),
            _ => format!("{} {op} {}", self.signed_wide(1), self.signed_wide(1)),
        }
    }

    /// An unsigned int.
    fn word(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.random.below(4) {
                0 => self.constant(),
                _ => self
                    .pick(&["a", "b", "c", "x", "y", "t", "i", "(u32)p", "(u32)q", "(u32)v"])
                    .into(),
            };
        }
        let (l, r) = (self.word(depth - 1), self.word(depth - 1));
        match self.random.below(16) {
            0 => format!("({l} + {r})"),
            1 => format!("({l} - {r})"),
            2 => format!("({l} * {r})"),
            3 => format!("({l} / ({r} | 1u))"),
            4 => format!("({l} % ({r} | 1u))"),
            5 => format!("({l} & {r})"),
            6 => format!("({l} | {r})"),
            7 => format!("({l} ^ {r})"),
            8 => format!("({l} << ({r} & 31))"),
            9 => format!("({l} >> ({r} & 31))"),
            10 => format!("(~({l}) + -({r}))"),
            11 => format!("(u32)({})", self.condition()),
            12 => format!("({} ? {l} : {r})", self.condition()),
            13 => format!("(u32){}", self.place()),
            14 => format!("(u32){}", self.signed(depth - 1)),
            _ => format!("(u32)({} >> {})", self.wide(depth - 1), self.random.below(64)),
        }
    }

    /// An int. Overflow wraps (-fwrapv); divisors are small and positive.
    fn signed(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.pick(&["p", "q", "(s32)a", "(s32)x", "-5", "1000", "(s32)m"]).into();
        }
        let (l, r) = (self.signed(depth - 1), self.signed(depth - 1));
        match self.random.below(12) {
            0 => format!("({l} + {r})"),
            1 => format!("({l} - {r})"),
            2 => format!("({l} * {r})"),
            3 => format!("({l} / (({r} & 0x7fff) | 1))"),
            4 => format!("({l} % (({r} & 0x7fff) | 1))"),
            5 => format!("({l} / -(({r} & 0xff) | 2))"),
            6 => format!("({l} >> ({r} & 31))"),
            7 => format!("(s32)(s8)({l})"),
            8 => format!("(s32)(s16)({l})"),
            9 => format!("({l} < {r} ? {l} : -({r}))"),
            10 => format!("(s32)lh[(u32){l} & 7]"),
            _ => format!("(s32){}", self.word(depth - 1)),
        }
    }

    /// An unsigned long long.
    fn wide(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.random.below(3) {
                0 => format!("{:#x}ull", self.random.next()),
                _ => self.pick(&["v", "w", "(u64)m", "(u64)a", "(u64)(s64)p"]).into(),
            };
        }
        let (l, r) = (self.wide(depth - 1), self.wide(depth - 1));
        match self.random.below(13) {
            0 => format!("({l} + {r})"),
            1 => format!("({l} - {r})"),
            2 => format!("({l} * {r})"),
            3 => format!("({l} / ({r} | 1u))"),
            4 => format!("({l} % ({r} | 1u))"),
            5 => format!("({l} & {r})"),
            6 => format!("({l} ^ ~({r}))"),
            7 => format!("({l} << ({r} & 63))"),
            8 => format!("({l} >> ({r} & 63))"),
            9 => format!("({l} << {})", self.random.below(64)),
            10 => format!("({l} >> {})", self.random.below(64)),
            11 => format!("({} ? {l} : {r})", self.condition_of_words()),
            _ => format!("(u64){} * {}", self.word(1), self.word(1)),
        }
    }

    fn condition_of_words(&mut self) -> String {
        format!("{} < {}", self.word(1), self.word(1))
    }

    /// A long long.
    fn signed_wide(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.pick(&["m", "(s64)v", "(s64)p", "-77ll", "(s64)ld[2]"]).into();
        }
        let (l, r) = (self.signed_wide(depth - 1), self.signed_wide(depth - 1));
        match self.random.below(8) {
            0 => format!("({l} + {r})"),
            1 => format!("({l} - {r})"),
            2 => format!("({l} * {r})"),
            3 => format!("({l} / (({r} & 0x7fffffff) | 1))"),
            4 => format!("({l} % (({r} & 0x7fffffffffll) | 1))"),
            5 => format!("({l} / -(({r} & 0xfff) | 2))"),
            6 => format!("({l} >> ({r} & 63))"),
            _ => format!("({l} < {r} ? {l} : {r})"),
        }
    }
}
