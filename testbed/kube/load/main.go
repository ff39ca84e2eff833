// Load asks an HTTP server at a steady rate until its standard input ends, and tells of each request what became of it:
//
//	load -rate 1000 -first 10000 -last 59999 -from 10000 -patience 3.5s 192.168.1.240:80
//
// It exists because tools that measure a server's speed hide what is asked here: which requests are lost. It doesn't wait for answers
// before it asks on; each request is a TCP connection of its own with a port of its own, from -from on and around between -first and
// -last; and none is made a second time. TCP sends a lost SYN again after a second: how long a request took shows that.
//
// It prints a JSON line a request:
//
//	{"at": start, "ms": duration, "port": its own, "node": who answered or null, "why": null or why nobody did}
//
// `at` is the machine's monotonic clock in seconds.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	clockMonotonic = 1
	// Of linux/in.h, linux/socket.h and linux/errqueue.h.
	ipRecvErr, ipv6RecvErr  = 11, 25
	msgErrQueue             = 0x2000
	originICMP, originICMP6 = 2, 3
	// An answer that is there counts, however late this process comes to it.
	readLate = 5 * time.Millisecond
)

var names = map[syscall.Errno]string{
	syscall.EADDRINUSE:   "EADDRINUSE",
	syscall.ECONNABORTED: "ECONNABORTED",
	syscall.ECONNREFUSED: "ECONNREFUSED",
	syscall.ECONNRESET:   "ECONNRESET",
	syscall.EHOSTUNREACH: "EHOSTUNREACH",
	syscall.ENETUNREACH:  "ENETUNREACH",
	syscall.EPIPE:        "EPIPE",
}

type request struct {
	At   float64 `json:"at"`
	Ms   float64 `json:"ms"`
	Port int     `json:"port"`
	Node *string `json:"node"`
	Why  *string `json:"why"`
}

// client is what all requests have in common.
type client struct {
	target   string
	patience time.Duration
	// The same moment on the machine's clock and on Go's, which tells no number.
	uptime time.Duration
	start  time.Time
}

func main() {
	log.SetFlags(0)
	rate := flag.Float64("rate", 50, "requests a second")
	first, last := flag.Int("first", 10000, "the lowest own port"), flag.Int("last", 59999, "the highest own port")
	from := flag.Int("from", 10000, "the own port of the first request")
	patience := flag.Duration("patience", 3500*time.Millisecond, "after which time a request is given up")
	flag.Parse()
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	done, written := make(chan request, 1024), make(chan struct{})
	go func() {
		write(done)
		close(written)
	}()
	c := client{flag.Arg(0), *patience, uptime(), time.Now()}
	var underWay sync.WaitGroup
	for count := 0; ; count++ {
		due := c.start.Add(time.Duration(float64(count) / *rate * float64(time.Second)))
		select {
		case <-over:
			underWay.Wait()
			close(done)
			<-written
			return
		case <-time.After(time.Until(due)):
		}
		underWay.Add(1)
		go func(port int) {
			defer underWay.Done()
			done <- c.ask(port)
		}(*first + (*from-*first+count)%(*last-*first+1))
	}
}

func (c *client) ask(port int) request {
	begun := time.Now()
	node, why := exchange(c.target, port, begun.Add(c.patience))
	made := request{At: round((c.uptime + begun.Sub(c.start)).Seconds(), 5), Ms: round(time.Since(begun).Seconds()*1000, 2), Port: port}
	if why != "" {
		made.Why = &why
	} else {
		made.Node = &node
	}
	return made
}

// exchange returns the node that has answered, or why none has.
func exchange(target string, port int, deadline time.Time) (node, why string) {
	own := -1
	prepare := func(_, _ string, socket syscall.RawConn) error {
		var err error
		if failed := socket.Control(func(descriptor uintptr) { own, err = set(int(descriptor)) }); failed != nil {
			return failed
		}
		return err
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Deadline: deadline, KeepAlive: -1, Control: prepare}
	connection, err := dialer.Dial("tcp", target)
	if own >= 0 {
		defer syscall.Close(own)
	}
	if err != nil {
		return "", cause(err) + icmp(own) + " while connecting"
	}
	defer connection.Close()
	connection.SetDeadline(deadline)
	_, err = io.WriteString(connection, "GET / HTTP/1.0\r\n\r\n")
	var said []byte
	if err == nil {
		said, err = io.ReadAll(connection)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		var rest []byte
		connection.SetReadDeadline(time.Now().Add(readLate))
		rest, err = io.ReadAll(connection)
		said = append(said, rest...)
	}
	if err != nil {
		return "", cause(err) + " once connected"
	}
	head, body, _ := strings.Cut(string(said), "\r\n\r\n")
	for _, word := range strings.Fields(body) {
		if name, found := strings.CutPrefix(word, "node="); found && strings.HasPrefix(head, "HTTP/1.0 200 ") {
			return name, ""
		}
	}
	return "", fmt.Sprintf("%.40q for an answer", said)
}

// set lets a port be taken again that the kernel still remembers of its last connection, and ICMP errors be asked for. It returns a
// descriptor of the socket that outlives a dialer who gives up, or a negative number.
func set(descriptor int) (int, error) {
	if err := syscall.SetsockoptInt(descriptor, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return -1, err
	}
	if err := syscall.SetsockoptInt(descriptor, syscall.IPPROTO_IP, ipRecvErr, 1); err != nil {
		return -1, err
	}
	// Refused by a socket for IPv4.
	syscall.SetsockoptInt(descriptor, syscall.IPPROTO_IPV6, ipv6RecvErr, 1)
	return syscall.Dup(descriptor)
}

// icmp tells the ICMP error that a socket was given, if any, and who sent it. A node whose kube-proxy has no rule for an address sends what
// comes for it back to the router: type 11 of IPv4, 3 of IPv6 is a packet that went to and fro until its time was up.
func icmp(descriptor int) string {
	if descriptor < 0 {
		return ""
	}
	control := make([]byte, 256)
	_, length, _, _, err := syscall.Recvmsg(descriptor, make([]byte, 256), control, msgErrQueue|syscall.MSG_DONTWAIT)
	if err != nil {
		return ""
	}
	messages, err := syscall.ParseSocketControlMessage(control[:length])
	if err != nil {
		return ""
	}
	for _, message := range messages {
		// struct sock_extended_err: errno (4 octets), origin, type, code, 9 more; then the sender's address.
		data := message.Data
		switch {
		case len(data) >= 24 && data[4] == originICMP:
			return fmt.Sprintf(" (ICMP %d/%d from %s)", data[5], data[6], net.IP(data[20:24]))
		case len(data) >= 40 && data[4] == originICMP6:
			return fmt.Sprintf(" (ICMPv6 %d/%d from %s)", data[5], data[6], net.IP(data[24:40]))
		}
	}
	return ""
}

func cause(err error) string {
	var code syscall.Errno
	if !errors.As(err, &code) {
		return "no answer"
	}
	if name, known := names[code]; known {
		return name
	}
	return strconv.Itoa(int(code))
}

func write(done <-chan request) {
	output := bufio.NewWriter(os.Stdout)
	lines := json.NewEncoder(output)
	for one := range done {
		if err := lines.Encode(one); err != nil {
			log.Fatal(err)
		}
	}
	if err := output.Flush(); err != nil {
		log.Fatal(err)
	}
}

func uptime() time.Duration {
	var now syscall.Timespec
	if _, _, code := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0); code != 0 {
		log.Fatal(code)
	}
	return time.Duration(now.Nano())
}

func round(value float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(value*scale) / scale
}
