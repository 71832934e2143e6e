//! Extensions that misbehave, and what becomes of them and of their neighbours.

mod ended;
mod linked;
mod misbehaviour;
mod probe;
mod regions;
mod scene;
mod screen;
mod suite;
mod taken;
mod wall;
mod wires;
