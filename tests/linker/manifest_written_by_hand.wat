;; The bytes of spine-abi's manifest.rs.
;; verdict: accept
;; manifest: none
(module
  (@custom "spine.manifest" "SPNM\01\00\01\00\01\00\00\00\00\00\00\00a name that is thirty-two bytes.\01\00\00\00\00\00\00\00")
  (memory (export "memory") 1)
  (func (export "run"))
)
