package main

import (
	"fmt"
	"path"
	"reflect"
	"runtime"
	"strings"
)

// failed ends a case; its text names the lines of the check.
type failed string

func fail(format string, values ...any) {
	var where []string
	for skip := 1; skip < 8; skip++ {
		caller, file, line, known := runtime.Caller(skip)
		if known && strings.HasPrefix(runtime.FuncForPC(caller).Name(), "main.") {
			where = append(where, fmt.Sprintf("%s:%d", path.Base(file), line))
		}
	}
	panic(failed(fmt.Sprintf(format, values...) + "\nat " + strings.Join(where, ", ")))
}

func require(holds bool, format string, values ...any) {
	if !holds {
		fail(format, values...)
	}
}

func ok(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// must is for calls that return a value and an error.
func must[T any](value T, err error) T {
	ok(err)
	return value
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		fail("found %v, expected %v", found, expected)
	}
}
