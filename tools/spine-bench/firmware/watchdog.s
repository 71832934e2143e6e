! Handlers under a watchdog, as SPINE's (section 3.3.2): each runs in the user context with 50 us on IT. One that ends comes
! back by itself; one that does not is left where it is when TIME_INT interrupts it.
!
!   0x10 handlers that ended           0x14 handlers that were stopped     0x18 what the handlers counted

        bt      start
        nop
        nop
        nop
ended:  .word   0x0
stopped: .word  0x0
work:   .word   0x0

start:  mov     0x20, %imr              ! TIME_INT
        mov     table, %r7
next:   ld      [%r7++], %r8
        nop
        sub.f   %r8, 0x0, %r0
        beq     done
        mov     0x63, %r6
        st      %r6, [IT]
        mov     0x20, %isr
        mov     %r8, %apc
        punt                            ! the handler runs
        mov     0x20, %r6
        and.f   %isr, %r6, %r0
        beq     good
        mov     ended, %r9
        mov     stopped, %r9
good:   ld      [%r9], %r10
        nop
        add     %r10, 0x1, %r10
        bt      next
        st      %r10, [%r9]

done:   mov     0x40000000, %isr        ! HOST_SIG
end:    bt      end
        nop

count:  ld      [work], %r6
        nop
        add     %r6, 0x1, %r6
        st      %r6, [work]
        punt
endless: bt     endless
        nop

table:  .word   count
        .word   endless
        .word   count
        .word   0x0
