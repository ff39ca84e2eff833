// Web is what a load balancer of the lab leads to. It answers over HTTP and UDP with its pod's name, its node's name and
// the address that it sees as the client's:
//
//	pod=web-6d4b9-x7k2p node=n2 client=192.168.1.11
//
//	GET /healthz     200, or 503 after GET /ready?off
//	GET /ready?off   makes it unready; /ready makes it ready again
//	POST /admit      a validating webhook that refuses each object named "forbidden"
//
// Environment: ADDR (":8080"), DRAIN (how long it goes on serving after SIGTERM, "6s"), NODE_NAME, TLS_CERT and TLS_KEY
// (files; with them it speaks HTTPS).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	host, _ = os.Hostname()
	ready   atomic.Bool
)

func main() {
	addr := os.Getenv("ADDR")
	if addr == "" {
		addr = ":8080"
	}
	drain, err := time.ParseDuration(os.Getenv("DRAIN"))
	if err != nil && os.Getenv("DRAIN") != "" {
		log.Fatal(err)
	}
	ready.Store(true)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, answer(r.RemoteAddr)) })
	mux.HandleFunc("/healthz", health)
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		ready.Store(r.URL.RawQuery != "off")
		fmt.Fprintln(w, ready.Load())
	})
	mux.HandleFunc("/admit", admit)
	server := &http.Server{Addr: addr, Handler: mux}
	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go serve(server)
	go serveUDP(addr)
	<-stopped.Done()
	log.Println("draining", drain)
	time.Sleep(drain)
	ended, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	server.Shutdown(ended)
}

func answer(remote string) string {
	client, _, _ := net.SplitHostPort(remote)
	return fmt.Sprintf("pod=%s node=%s client=%s\n", host, os.Getenv("NODE_NAME"), client)
}

func health(w http.ResponseWriter, _ *http.Request) {
	if !ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	}
}

func admit(w http.ResponseWriter, r *http.Request) {
	var review struct {
		APIVersion, Kind string
		Request          struct{ UID, Name string }
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	log.Println("admit", review.Request.Name, "from", r.RemoteAddr, "host", r.Host)
	json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": review.APIVersion, "kind": review.Kind,
		"response": map[string]any{
			"uid": review.Request.UID, "allowed": review.Request.Name != "forbidden",
			"status": map[string]any{"message": "by the hook in " + host},
		},
	})
}

func serve(server *http.Server) {
	run := server.ListenAndServe
	if certificate := os.Getenv("TLS_CERT"); certificate != "" {
		run = func() error { return server.ListenAndServeTLS(certificate, os.Getenv("TLS_KEY")) }
	}
	if err := run(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func serveUDP(addr string) {
	socket, err := net.ListenPacket("udp", addr)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 2048)
	for {
		_, from, err := socket.ReadFrom(buffer)
		if err != nil {
			log.Fatal(err)
		}
		socket.WriteTo([]byte(answer(from.String())), from)
	}
}
