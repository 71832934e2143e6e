! Products. LLVM's calling convention for lanai: arguments in r6 r7 r18 r19, result in rv (and r9, the low half of 64 bits),
! the return address at the top of the stack, every register but sp and fp free to use.

! r6 * r7, 5 cycles for each bit of the smaller operand.
__mulsi3:
        sub.f   %r6, %r7, %r0
        sel.ult %r6, %r7, %r9           ! the smaller: its bits say what to add
        sel.ult %r7, %r6, %r12          ! the larger: doubled each turn
        mov     0x1, %r13
        mov     0x0, %rv
multiply_bit:
        and.f   %r9, %r13, %r0
        add.ne  %rv, %r12, %rv
        sh.f    %r9, -0x1, %r9
        bne     multiply_bit
        sh      %r12, 0x1, %r12
        ld      [%sp++], %pc
        nop
        nop

! r6:r7 * r18:r19.
__muldi3:
        mov     0x0, %rv
        mov     0x0, %r9
        mov     0x1, %r16
wide_multiply_bit:
        and.f   %r19, %r16, %r0
        beq     wide_multiply_shift
        sh      %r18, 0x1f, %r12        ! the bit that falls from the high to the low half
        add.f   %r9, %r7, %r9
        addc    %rv, %r6, %rv
wide_multiply_shift:
        sh.f    %r7, 0x1, %r7           ! C is the bit that goes up
        addc    %r6, %r6, %r6
        sh      %r18, -0x1, %r18
        sh      %r19, -0x1, %r19
        or      %r19, %r12, %r19
        or.f    %r18, %r19, %r0
        bne     wide_multiply_bit
        nop
        ld      [%sp++], %pc
        nop
        nop
