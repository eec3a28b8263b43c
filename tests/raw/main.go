// Command raw sends its standard input to tvsctld's socket as it is, and prints all that
// comes back. A test can choose the client's own address, or leave the connection to
// another process.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// patience is more than the daemon has with who sends half a request.
const patience = 20 * time.Second

func run() error {
	socket := flag.String("socket", "/run/tvsctld.sock", "the daemon's socket")
	name := flag.String("name", "", "the client's own address; @ begins an abstract one")
	leave := flag.Bool("leave", false, "print the process id, leave the connection to the command that follows as its descriptor 3, and end")
	inherited := flag.Bool("inherited", false, "use the connection on descriptor 3")
	flag.Parse()
	if *inherited {
		c, err := net.FileConn(os.NewFile(3, "connection"))
		if err != nil {
			return err
		}
		return talk(c)
	}
	var own *net.UnixAddr
	if *name != "" {
		own = &net.UnixAddr{Name: *name, Net: "unix"}
	}
	c, err := net.DialUnix("unix", own, &net.UnixAddr{Name: *socket, Net: "unix"})
	if err != nil {
		return err
	}
	if !*leave {
		return talk(c)
	}
	if flag.NArg() == 0 {
		return errors.New("-leave needs a command")
	}
	file, err := c.File()
	if err != nil {
		return err
	}
	heir := exec.Command(flag.Arg(0), flag.Args()[1:]...)
	heir.ExtraFiles = []*os.File{file}
	if err := heir.Start(); err != nil {
		return err
	}
	fmt.Println(os.Getpid())
	return nil
}

// talk does not close its side first: to the daemon that is a client that has gone.
func talk(c net.Conn) error {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.Copy(c, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "raw:", err) // the daemon may refuse before it has read all
	}
	if _, err := io.Copy(os.Stdout, c); err != nil {
		fmt.Fprintln(os.Stderr, "raw:", err)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "raw:", err)
		os.Exit(1)
	}
}
