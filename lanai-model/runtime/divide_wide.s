! Quotients and remainders of 64 bits; by zero as with 32.

! The one division: r6:r7 / r18:r19 gives r6:r7, remainder r20:r21; called with the return address in rca. 64 turns of 13.
wide_divide:
        mov     0x0, %r20
        mov     0x0, %r21
        mov     0x40, %r12
wide_divide_bit:
        sh.f    %r7, 0x1, %r7
        addc.f  %r6, %r6, %r6
        addc.f  %r21, %r21, %r21
        addc.f  %r20, %r20, %r20
        suge    %r13
        sub.f   %r21, %r19, %r22
        subb.f  %r20, %r18, %r23
        suge    %r14
        or.f    %r13, %r14, %r13
        sel.ne  %r22, %r21, %r21
        sel.ne  %r23, %r20, %r20
        sub.f   %r12, 0x1, %r12
        bne     wide_divide_bit
        add     %r7, %r13, %r7
        bt      %rca
        nop

__udivdi3:
        add     %pc, 0xc, %rca
        bt      wide_divide
        nop
        ld      [%sp++], %pc
        add     %r6, 0x0, %rv
        add     %r7, 0x0, %r9

__umoddi3:
        add     %pc, 0xc, %rca
        bt      wide_divide
        nop
        ld      [%sp++], %pc
        add     %r20, 0x0, %rv
        add     %r21, 0x0, %r9

! The magnitudes of both operands; called with the return address in r24.
wide_magnitudes:
        sub.f   %r6, 0x0, %r0
        bpl     wide_divisor
        sub.f   %r18, 0x0, %r0
        sub.f   %r0, %r7, %r7
        subb    %r0, %r6, %r6
        sub.f   %r18, 0x0, %r0
wide_divisor:
        bpl     wide_magnitudes_end
        nop
        sub.f   %r0, %r19, %r19
        subb    %r0, %r18, %r18
wide_magnitudes_end:
        bt      %r24
        nop

__divdi3:
        xor     %r6, %r18, %r17
        add     %pc, 0xc, %r24
        bt      wide_magnitudes
        nop
        add     %pc, 0xc, %rca
        bt      wide_divide
        nop
        bt      wide_sign
        sub.f   %r17, 0x0, %r0

__moddi3:
        add     %r6, 0x0, %r17
        add     %pc, 0xc, %r24
        bt      wide_magnitudes
        nop
        add     %pc, 0xc, %rca
        bt      wide_divide
        nop
        add     %r20, 0x0, %r6
        add     %r21, 0x0, %r7
        sub.f   %r17, 0x0, %r0

! Returns r6:r7, negated if the flags say minus.
wide_sign:
        bpl     wide_return
        nop
        sub.f   %r0, %r7, %r7
        subb    %r0, %r6, %r6
wide_return:
        ld      [%sp++], %pc
        add     %r6, 0x0, %rv
        add     %r7, 0x0, %r9
