package etcd_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
)

// A lock in etcd is held while compactors elsewhere wait. ETCDCTL_PASSWORD has the password.
func ExampleOpen() {
	p, err := etcd.Open("etcd://compactor@a.example,b.example,c.example/?cacert=/etc/etcd/ca.pem&lease=1m")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	held, err := p.Locker(lock.Options{RootID: "01J9ZK7Q1W3XN5T8V2B4C6D8EF", Wait: time.Minute}).Lock(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer held.Unlock()
	fmt.Println(held.Provider(), held.Fence())
}
