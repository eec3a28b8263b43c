// Command storage-standin stands in for Elasticsearch where no registry can be
// reached. It keeps documents in the directory given as its argument.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tvsctl/examples/tvs/storage-standin/documents"
)

func run(ctx context.Context) error {
	if len(os.Args) != 2 {
		return errors.New("usage: storage-standin DIRECTORY")
	}
	store, err := documents.Open(os.Args[1])
	if err != nil {
		return err
	}
	server := &http.Server{Addr: ":9200", Handler: store, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
