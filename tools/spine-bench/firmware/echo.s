! Sends every good packet back. Receive goes on in the other buffer while a packet is looked at and sent.
!
!   0x10 packets sent back             0x14 packets dropped: bad CRC, no whole words, or too long for a buffer
!
! Buffers of 256 bytes at 0x1000 and 0x2000.

        bt      start
        nop
        nop
        nop
sent:   .word   0x0
dropped: .word  0x0

start:  mov     0x2, %r6
        st      %r6, [MYRINET]          ! CRC_ENABLE
        mov     0x1000, %r8             ! where the next packet goes
        mov     0x2000, %r9
        st      %r8, [RMP]
        add     %r8, 0xfc, %r10
        st      %r10, [RML]             ! the last word: arms
        nop

loop:   mov     0x6, %r6                ! BUFF_INT | RECV_INT
        and.f   %isr, %r6, %r0
        beq     loop
        nop
        ld      [RMP], %r11             ! behind the last word
        mov     %isr, %r12              ! writing RML clears these bits
        st      %r9, [RMP]
        add     %r9, 0xfc, %r10
        st      %r10, [RML]
        mov     %r8, %r13
        mov     %r9, %r8
        mov     %r13, %r9               ! now the full one
        mov     0x306, %r6              ! both ORUN bits: whole words and the CRC; RECV_INT; not BUFF_INT
        and     %r12, %r6, %r12
        mov     0x302, %r6
        sub.f   %r12, %r6, %r0
        bne     drop
        uld.b   -4[%r11], %r14          ! the CRC byte: zero if good
        nop
        sub.f   %r14, 0x0, %r0
        bne     drop
        mov     0x2000, %r6             ! SEND_RDY
ready:  and.f   %isr, %r6, %r0
        beq     ready
        nop
        st      %r9, [SMP]
        sub     %r11, 0x8, %r11
        st      %r11, [SMLT]            ! the last word of the packet
        mov     0x8, %r6                ! SEND_INT
sending: and.f  %isr, %r6, %r0
        beq     sending
        ld      [sent], %r14
        nop
        add     %r14, 0x1, %r14
        bt      loop
        st      %r14, [sent]

drop:   ld      [dropped], %r14
        nop
        add     %r14, 0x1, %r14
        bt      loop
        st      %r14, [dropped]
