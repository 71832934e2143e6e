! How long host DMAs take: eight of each size, first to the board, then to the host, in ticks of 0.5 us.
!
!   0x1000  size, ticks to the board, ticks to the host; then the next size: 4, 8, 16 ... 4096 bytes

        mov     0x1000, %r8             ! the table
        mov     0x4, %r9                ! the size
size:   st      %r9, [%r8++]
        mov     0x1, %r10               ! E2L first
way:    mov     0x8, %r11
        ld      [RTC], %r12
        nop
one:    mov     0x30000000, %r6
        st      %r6, [EAR]
        mov     0x2000, %r6
        st      %r6, [LAR]
        st      %r10, [DMA_DIR]
        st      %r9, [DMA_CTR]
        mov     0x10, %r6               ! DMA_INT
busy:   and.f   %isr, %r6, %r0
        beq     busy
        nop
        sub.f   %r11, 0x1, %r11
        bne     one
        nop
        ld      [RTC], %r13
        nop
        sub     %r13, %r12, %r13
        st      %r13, [%r8++]
        sub.f   %r10, 0x1, %r10
        beq     way
        nop
        add     %r9, %r9, %r9
        mov     0x1000, %r6
        sub.f   %r9, %r6, %r0
        bule    size
        nop
        mov     0x40000000, %isr        ! HOST_SIG: the table is complete
end:    bt      end
        nop
