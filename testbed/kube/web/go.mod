module ferrolb.test/web

go 1.24
