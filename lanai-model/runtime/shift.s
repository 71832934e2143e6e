! Shifts of r6:r7 by r18, 0 to 63. What crosses between the halves is shifted by one and then by 31 less the count, since a
! shift by 32 is not defined.

__ashldi3:
        sub.f   %r18, 0x20, %r12
        buge    shift_left_far
        sub     %r18, 0x1f, %r13
        sh      %r7, -0x1, %r12
        sh      %r12, %r13, %r12
        sh      %r6, %r18, %rv
        ld      [%sp++], %pc
        or      %rv, %r12, %rv
        sh      %r7, %r18, %r9
shift_left_far:
        ld      [%sp++], %pc
        sh      %r7, %r12, %rv
        mov     0x0, %r9

__lshrdi3:
        mov     0x20, %r12
        sub.f   %r12, %r18, %r12
        ble     shift_right_far
        sub     %r0, %r18, %r13
        sub     %r12, 0x1, %r12
        sh      %r6, 0x1, %r14
        sh      %r14, %r12, %r14
        sh      %r7, %r13, %r9
        ld      [%sp++], %pc
        or      %r9, %r14, %r9
        sh      %r6, %r13, %rv
shift_right_far:
        ld      [%sp++], %pc
        sh      %r6, %r12, %r9
        mov     0x0, %rv

__ashrdi3:
        mov     0x20, %r12
        sub.f   %r12, %r18, %r12
        ble     shift_signed_far
        sub     %r0, %r18, %r13
        sub     %r12, 0x1, %r12
        sh      %r6, 0x1, %r14
        sh      %r14, %r12, %r14
        sh      %r7, %r13, %r9
        ld      [%sp++], %pc
        or      %r9, %r14, %r9
        sha     %r6, %r13, %rv
shift_signed_far:
        ld      [%sp++], %pc
        sha     %r6, %r12, %r9
        sha     %r6, -0x1f, %rv
