;; fate: struck out_of_fuel
;; Ten budgets of work for each message without a loop, and a request for each message written out: where
;; only loops and the beginnings of functions are looked at, nobody ever sees that its fuel is used up.
(module
    (import "spine:core" "next" (func $next (param i64) (result i64)))
    (memory (export "memory") 1)
    (func $long (param i64) (result i64)
        (local.get 0)
        (i64.mul (i64.const 3)) ;; times 40000
    )
    (func $handle
        (drop (call $long (i64.const 1))))
    (func (export "run")
        (if (i64.eqz (call $next (i64.const 0))) (then (return))) (call $handle) ;; times 64
    ))
