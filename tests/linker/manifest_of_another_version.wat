;; Version 99 of the ABI.
;; verdict: refuse
;; message: not a sound one of ABI version 1
;; manifest: none
(module
  (@custom "spine.manifest" "SPNM\63\00\01\00\01\00\00\00\00\00\00\00a name that is thirty-two bytes.\01\00\00\00\00\00\00\00")
  (memory (export "memory") 1)
  (func (export "run"))
)
