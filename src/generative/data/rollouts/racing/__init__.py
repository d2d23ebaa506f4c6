"""CarRacing at many times the speed of gymnasium's: the same physics, tracks and rewards, pictures from a painted map."""
