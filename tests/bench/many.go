package main

import (
	"fmt"
	"time"
)

const (
	many       = 50
	manyRounds = 3
)

// manyReplicas measures, by turns, how long a replica more takes up to a few and up to many,
// and one fewer on the way back. It returns the medians in milliseconds, and what
// the daemon has resident afterwards.
func manyReplicas() (up, down map[int]float64, resident int, err error) {
	ups, downs := map[int][]time.Duration{}, map[int][]time.Duration{}
	for range manyRounds {
		for _, count := range []int{to, many} {
			for _, leg := range []struct {
				count int
				into  map[int][]time.Duration
			}{{count, ups}, {from, downs}} {
				took, err := timed("tvsctl", "scale", "webapp", fmt.Sprint(leg.count))
				if err != nil {
					return nil, nil, 0, err
				}
				leg.into[count] = append(leg.into[count], took/time.Duration(count-from))
				time.Sleep(clearing)
			}
		}
	}
	up, down = map[int]float64{}, map[int]float64{}
	for _, count := range []int{to, many} {
		up[count], down[count] = median(ups[count]), median(downs[count])
	}
	resident, err = residentSize()
	return up, down, resident, err
}
