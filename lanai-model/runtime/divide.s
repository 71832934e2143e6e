! Quotients and remainders of 32 bits. A division by zero is undefined in C; here its quotient is all ones and its remainder
! the dividend, without a trap.

! The one division: r6 / r7 gives r6, remainder r9; called with the return address in rca. 10 cycles for each bit of r6.
divide:
        leadz   %r6, %r13
        sub.f   %r7, 0x0, %r0
        beq     divide_by_zero
        mov     0x0, %r9
        mov     0x20, %r12
        sub.f   %r12, %r13, %r12        ! the bits that r6 has
        beq     divide_end
        sh      %r6, %r13, %r6
divide_bit:
        sh.f    %r6, 0x1, %r6
        addc.f  %r9, %r9, %r9
        suge    %r13                    ! a remainder beyond 32 bits is larger than any divisor
        sub.f   %r9, %r7, %r14
        suge    %r16
        or.f    %r13, %r16, %r13
        sel.ne  %r14, %r9, %r9
        sub.f   %r12, 0x1, %r12
        bne     divide_bit
        add     %r6, %r13, %r6
divide_end:
        bt      %rca
        nop
divide_by_zero:
        add     %r6, 0x0, %r9
        bt      %rca
        sub     %r0, 0x1, %r6

__udivsi3:
        add     %pc, 0xc, %rca
        bt      divide
        nop
        ld      [%sp++], %pc
        add     %r6, 0x0, %rv
        nop

__umodsi3:
        add     %pc, 0xc, %rca
        bt      divide
        nop
        ld      [%sp++], %pc
        add     %r9, 0x0, %rv
        nop

! Signed: of the magnitudes, and the sign afterwards.
__divsi3:
        xor     %r6, %r7, %r17          ! its sign is the quotient's
        sub.f   %r6, 0x0, %r0
        sub.mi  %r0, %r6, %r6
        sub.f   %r7, 0x0, %r0
        add     %pc, 0xc, %rca
        bt      divide
        sub.mi  %r0, %r7, %r7
        sub.f   %r17, 0x0, %r0
        ld      [%sp++], %pc
        sub     %r0, %r6, %r12
        sel.mi  %r12, %r6, %rv

__modsi3:
        add     %r6, 0x0, %r17          ! the remainder has the dividend's sign
        sub.f   %r6, 0x0, %r0
        sub.mi  %r0, %r6, %r6
        sub.f   %r7, 0x0, %r0
        add     %pc, 0xc, %rca
        bt      divide
        sub.mi  %r0, %r7, %r7
        sub.f   %r17, 0x0, %r0
        ld      [%sp++], %pc
        sub     %r0, %r9, %r12
        sel.mi  %r12, %r9, %rv
