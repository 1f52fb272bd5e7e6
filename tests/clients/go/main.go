// Command franz runs franz-go against a broker, for the tests of the folder above.
//
//	franz cases BOOTSTRAP
//	franz member BOOTSTRAP TOPIC SESSION_MS [GROUP]
//	franz chaos ROLE PROCESS BOOTSTRAP key=value ...
//
// `cases` runs what it is asked for: a line on stdin, {"case": "...", "unique": "..."}, runs one; a line on stdout,
// {"case": "...", "error": null or what went wrong}, answers it. `member` is one member of a group (member.go), `chaos` a program
// of a chaos run (chaos.go).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const caseTimeout = 60 * time.Second

// cases is filled by the files whose names say what they are about.
var cases = map[string]func(*world){}

type answer struct {
	Case  string  `json:"case"`
	Error *string `json:"error"`
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "franz cases|member BOOTSTRAP ... | chaos ROLE ...")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "cases":
		serveCases(os.Args[2])
	case "member":
		runMember(os.Args[2:])
	case "chaos":
		runChaos(os.Args[2:])
	}
}

func serveCases(bootstrap string) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var wanted struct{ Case, Unique string }
		if err := json.Unmarshal(lines.Bytes(), &wanted); err != nil {
			panic(err)
		}
		tell(answer{wanted.Case, runCase(bootstrap, wanted.Case, wanted.Unique)})
	}
}

func runCase(bootstrap, name, unique string) (failure *string) {
	ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
	defer cancel()
	w := &world{ctx: ctx, bootstrap: bootstrap, topic: unique, group: unique}
	defer w.close()
	defer func() {
		if caught := recover(); caught != nil {
			text := fmt.Sprint(caught)
			if _, expected := caught.(failed); !expected {
				panic(caught)
			}
			failure = &text
		}
	}()
	run, known := cases[name]
	require(known, "no case is called %s", name)
	run(w)
	return nil
}

func tell(event any) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
