//! Host and adapter in one process: extensions that misbehave, and what becomes of them and of their neighbours;
//! what comes from outside, as a fuzzer makes it; and the video extension.

mod ended;
mod fuzz;
mod linked;
mod misbehaviour;
mod probe;
mod regions;
mod scene;
mod screen;
mod strangers;
mod suite;
mod taken;
mod video;
mod wall;
mod wires;
