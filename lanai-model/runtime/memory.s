! The four that compilers call on their own. By words where both addresses and the length allow it, else by bytes.

! To r6 from r7, r18 bytes.
memcpy:
        add     %r6, 0x0, %rv
        or      %r6, %r7, %r12
        or      %r12, %r18, %r12
        mov     0x3, %r13
        and.f   %r12, %r13, %r0
        bne     copy_bytes
        sub.f   %r18, 0x0, %r0
        beq     copy_end
        nop
copy_word:
        ld      [%r7++], %r12
        sub.f   %r18, 0x4, %r18
        bne     copy_word
        st      %r12, [%r6++]
copy_end:
        ld      [%sp++], %pc
        nop
        nop
copy_bytes:
        beq     copy_end
        nop
copy_byte:
        uld.b   [%r7++], %r12
        sub.f   %r18, 0x1, %r18
        bne     copy_byte
        st.b    %r12, [%r6++]
        ld      [%sp++], %pc
        nop
        nop

! As memcpy, but the two may overlap: from the end if the target is above the source.
memmove:
        sub.f   %r6, %r7, %r0
        bule    memcpy
        add     %r6, 0x0, %rv
        sub.f   %r18, 0x0, %r0
        beq     copy_end
        nop
        add     %r6, %r18, %r6
        add     %r7, %r18, %r7
move_byte:
        uld.b   [--%r7], %r12
        sub.f   %r18, 0x1, %r18
        bne     move_byte
        st.b    %r12, [--%r6]
        ld      [%sp++], %pc
        nop
        nop

! At r6, r18 bytes of r7.
memset:
        add     %r6, 0x0, %rv
        or      %r6, %r18, %r12
        mov     0x3, %r13
        and.f   %r12, %r13, %r0
        bne     set_bytes
        sub.f   %r18, 0x0, %r0
        beq     copy_end
        mov     0xff, %r12
        and     %r7, %r12, %r7
        sh      %r7, 0x8, %r12
        or      %r7, %r12, %r7
        sh      %r7, 0x10, %r12
        or      %r7, %r12, %r7
set_word:
        sub.f   %r18, 0x4, %r18
        bne     set_word
        st      %r7, [%r6++]
        ld      [%sp++], %pc
        nop
        nop
set_bytes:
        beq     copy_end
        nop
set_byte:
        sub.f   %r18, 0x1, %r18
        bne     set_byte
        st.b    %r7, [%r6++]
        ld      [%sp++], %pc
        nop
        nop

! r6 and r7, r18 bytes: the difference of the first bytes that differ.
memcmp:
bcmp:
        sub.f   %r18, 0x0, %r0
        beq     compare_end
        mov     0x0, %rv
compare_byte:
        uld.b   [%r6++], %r12
        uld.b   [%r7++], %r13
        nop
        sub.f   %r12, %r13, %rv
        bne     compare_end
        sub.f   %r18, 0x1, %r18
        bne     compare_byte
        nop
compare_end:
        ld      [%sp++], %pc
        nop
        nop
