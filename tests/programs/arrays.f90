! Formatted output, arrays, files and the intrinsics that a Fortran program leans on.
program arrays
  implicit none
  integer, parameter :: n = 200
  real(8), allocatable :: a(:,:), b(:,:), c(:,:)
  integer :: i, j, unit, status
  character(len=64) :: line
  complex(8) :: z

  allocate(a(n,n), b(n,n))
  do concurrent (i = 1:n, j = 1:n)
     a(i,j) = real(i, 8) / real(j, 8)
     b(i,j) = merge(1.0d0, 0.5d0, i == j)
  end do
  c = matmul(a, b)
  print '(a,f16.6)', 'trace      ', sum([(c(i,i), i = 1, n)])
  print '(a,es16.8)', 'norm       ', sqrt(sum(c**2))
  print '(a,2i6)', 'shape      ', shape(c)
  print '(a,2i6)', 'maxloc     ', maxloc(a)
  print '(5(i4,":",f8.3))', (i, a(i,2), i = 1, 10)
  z = (1.0d0, -2.0d0)
  print '(a,2f10.5)', 'exp(z)     ', exp(z)
  print *, 'list directed', 1, 2.5, .true., 'text'
  write (line, '(z8.8,1x,o6,1x,b8.8)') 48879, 511, 170
  print '(a)', trim(line)

  open (newunit=unit, file='numbers.txt', status='replace', action='write')
  do i = 1, 100
     write (unit, '(i5,f10.4)') i, sqrt(real(i, 8))
  end do
  close (unit)
  open (newunit=unit, file='numbers.txt', status='old', action='read')
  j = 0
  do
     read (unit, '(a)', iostat=status) line
     if (status /= 0) exit
     j = j + 1
  end do
  close (unit)
  print '(a,i5,a,i0)', 'read back  ', j, ' lines, iostat end ', merge(1, 0, is_iostat_end(status))

  open (newunit=unit, file='numbers.bin', form='unformatted', access='stream', status='replace')
  write (unit) a(:,1)
  close (unit)
  inquire (file='numbers.bin', size=i)
  print '(a,i0)', 'bytes      ', i
  open (newunit=unit, file='/no/such/file', status='old', iostat=status)
  print '(a,l1)', 'missing    ', status /= 0
  deallocate (a, b, c)
  stop 5
end program arrays
