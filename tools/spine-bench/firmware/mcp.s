! A control program that polls: it tells the host where its mailbox is, waits for it, and then does what the host asks for,
! one host DMA at a time. The mailbox is at 0x10:
!
!   0x10 acknowledged by the host      0x14 command: 1 board to host, 2 host to board; 0 when done
!   0x18 address in host memory        0x1c length in bytes
!   0x20 commands done                 0x24 CKS of the last one       0x28 its time in ticks of 0.5 us
!
! The data is at 0x1000. The host calls with LAN0_SIG or WAKE, and is called with HOST_SIG.

        bt      start
        nop
        nop
        nop
mailbox: .word  0x0
        .word   0x0
        .word   0x0
        .word   0x0
        .word   0x0
        .word   0x0
        .word   0x0

start:  mov     0xbfffffff, %isr        ! all bits but HOST_SIG, which would be set
        st      %r0, [EIMR]
        mov     0xf, %r6
        st      %r6, [DMA_STS]
        mov     mailbox, %r8
        st      %r8, [SMP]              ! nothing is sent yet: the host reads SMP
        mov     0x40000000, %isr        ! HOST_SIG
hello:  ld      [%r8], %r6
        nop                             ! the load's slot still has the old value
        sub.f   %r6, 0x0, %r0
        beq     hello
        nop

loop:   mov     0x10400, %r6            ! LAN0_SIG | WAKE_INT
        and.f   %isr, %r6, %r7
        beq     loop
        nop
        mov     %r7, %isr               ! cleared first: a call that comes now is not lost
        ld      4[%r8], %r9
        ld      8[%r8], %r10
        ld      12[%r8], %r11
        sub     %r9, 0x1, %r9           ! 0 is L2E, 1 is E2L
        st      %r10, [EAR]
        mov     0x1000, %r10
        st      %r10, [LAR]
        st      %r9, [DMA_DIR]
        st      %r0, [CKS]
        ld      [RTC], %r12
        st      %r11, [DMA_CTR]         ! starts it, and DMA_INT falls
        mov     0x10, %r6               ! something else, until that shows
busy:   and.f   %isr, %r6, %r0
        beq     busy
        nop
        ld      [RTC], %r13
        ld      [CKS], %r14
        ld      16[%r8], %r9
        sub     %r13, %r12, %r13
        st      %r14, 20[%r8]
        st      %r13, 24[%r8]
        add     %r9, 0x1, %r9
        st      %r0, 4[%r8]
        st      %r9, 16[%r8]
        mov     0x40000000, %isr
        bt      loop
        nop
