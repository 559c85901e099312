/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of one sector: writes numbered records through the BIOS, reads each back, and an older one too, and
 * compares them. It boots at once and lives in a few pages, so it migrates in about a second: for tests that
 * migrate many times, and for the question whether an accelerator works at all.
 *
 * Disk (bootsector.py has the same figures): sector 0 this code; record n, one sector, at sector
 * 8 + 8 * (n * 40503 mod 4096). Its first word is n, the others follow from it (fill).
 * Serial port: BOOT; then per record "R <n> 0", after its write has ended (with a host cache of none and no flush
 * negotiated, QEMU flushes each write); "E <what> <n>" and halt when something is wrong; "DONE" and halt after any
 * input.
 */
	.code16
	.intel_syntax noprefix
	.text
	.globl _start

	.set COM1, 0x3f8
	.set WANTED, 0x1000		/* what a record should be */
	.set FOUND, 0x1200		/* what was read */
	.set WORDS, 128			/* of 32 bits, per record */
	.set SLOT_MASK, 4095
	.set AGE, 64			/* how far back the older record lies; less than the slots */

_start:
	jmp 0:begin			/* some BIOSes enter as 07c0:0000 */
begin:
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	cld
	mov byte ptr [drive], dl
	mov si, offset text_boot
	call puts
	mov ebp, dword ptr [first]	/* ebp: the current record's number, throughout */

next_record:
	mov dx, COM1 + 5
	in al, dx
	test al, 1			/* input waits */
	jnz stopped
	mov ebx, ebp
	mov di, WANTED
	call fill
	mov ah, 0x43
	mov di, WANTED
	call disk
	mov si, offset text_write
	jc failed
	call read_and_compare
	mov ebx, ebp
	sub ebx, AGE
	jc acknowledge
	cmp ebx, dword ptr [first]
	jb acknowledge
	call read_and_compare
acknowledge:
	mov al, 'R'
	call putc
	call put_number
	mov si, offset text_zero
	call puts
	inc ebp
	jmp next_record

stopped:
	mov si, offset text_done
	call puts
halt:
	hlt
	jmp halt

failed:					/* si: what */
	call puts
	call put_number
	mov al, '\n'
	call putc
	jmp halt

/* Reads record ebx and compares it; does not return if it is wrong. */
read_and_compare:
	mov di, WANTED
	call fill
	mov ah, 0x42
	mov di, FOUND
	call disk
	mov si, offset text_read
	jc failed
	mov si, WANTED
	mov di, FOUND
	mov cx, WORDS
	repe cmpsd
	mov si, offset text_differs
	jne failed
	ret

/* Record ebx to es:di: the number, then a linear congruential sequence that starts from it. */
fill:
	mov eax, ebx
	stosd
	mov cx, WORDS - 1
fill_word:
	imul eax, eax, 1664525
	add eax, 1013904223
	stosd
	loop fill_word
	ret

/* BIOS function ah (0x42 read, 0x43 write) on record ebx and buffer di; carry is set on failure. */
disk:
	imul ecx, ebx, 40503
	and ecx, SLOT_MASK
	lea ecx, [ecx * 8 + 8]
	mov dword ptr [packet_sector], ecx
	mov word ptr [packet_buffer], di
	mov al, 0
	mov si, offset packet
	mov dl, byte ptr [drive]
	int 0x13
	ret

/* A space and ebp in decimal. */
put_number:
	mov al, ' '
	call putc
	mov eax, ebp
put_digits:
	xor edx, edx
	mov ecx, 10
	div ecx
	push dx
	test eax, eax
	jz put_digit
	call put_digits
put_digit:
	pop ax
	add al, '0'
	/* falls through: the last call of each level returns to the one above */
putc:
	push dx
	push ax
	mov dx, COM1 + 5
putc_wait:
	in al, dx
	test al, 0x20			/* transmitter empty */
	jz putc_wait
	pop ax
	mov dx, COM1
	out dx, al
	pop dx
	ret

puts:
	lodsb
	test al, al
	jz puts_end
	call putc
	jmp puts
puts_end:
	ret

text_boot:	.asciz "\nBOOT 0\n"
text_zero:	.asciz " 0\n"
text_done:	.asciz "DONE\n"
text_write:	.asciz "E write"
text_read:	.asciz "E read"
text_differs:	.asciz "E differs"

packet:					/* disk address packet (EDD 3.0) */
	.byte 16, 0
	.word 1				/* sectors */
packet_buffer:
	.word 0, 0
packet_sector:
	.quad 0
drive:	.byte 0

	.org 0x1f8
first:	.long 0				/* bootsector.py patches it: number of the first record */
	.org 0x1fe
	.word 0xaa55
