module ferrolb.test/load

go 1.24
