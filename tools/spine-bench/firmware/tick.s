! A clock beside a program: the user context counts turns of its loop, and every 50 us IT interrupts it.
!
!   0x10 ticks                         0x14 turns of the user context's loop

        bt      start
        nop
        nop
        nop
ticks:  .word   0x0
turns:  .word   0x0

start:  mov     user, %apc              ! where the other context begins
        mov     0x63, %r6               ! 99, and one more for the wrap: 100 ticks of 0.5 us
        st      %r6, [IT]
        mov     0x20, %r7               ! TIME_INT
        mov     %r7, %isr
        mov     %r7, %imr
again:  punt
        st      %r6, [IT]               ! the wrap brought us back
        mov     %r7, %isr
        ld      [ticks], %r8
        nop
        add     %r8, 0x1, %r8
        bt      again
        st      %r8, [ticks]

user:   ld      [turns], %r8            ! not the system's r8: the order of r4 to r27 is reversed here
        nop
        add     %r8, 0x1, %r8
        bt      user
        st      %r8, [turns]
